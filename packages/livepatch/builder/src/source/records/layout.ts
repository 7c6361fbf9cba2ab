import { readElf } from '@kmend/elf';
import { pairScopes, type Scope } from '../../compare/types/scope.ts';
import { readDwarf } from '../../dwarf/index.ts';
import type { MembersChange } from './members.ts';

/**
 * What is appended to a unit's text, so that its object says how the compiler lays out a record. `record`: `struct
 * sock`.
 */
export function probeText(records: readonly string[]): string {
  const lines = records.map(
    (record, at) => `${record} kmend_probe_${at};\nchar ${alignmentName(at)}[_Alignof(${record})];\n`,
  );
  return `\n${lines.join('')}`;
}

function alignmentName(at: number): string {
  return `kmend_probe_alignment_${at}`;
}

interface LaidOut {
  readonly path: string;
  readonly bit: number;
  readonly bits: number;
  readonly type: string;
  readonly isScalar: boolean;
  readonly isBitField: boolean;
}

/**
 * gcc reads and writes a bit-field in a piece of memory around it, at most this wide (stor-layout.cc,
 * finish_bitfield_representative).
 */
const BIT_FIELD_REACH = 128;

/**
 * Those of the records that two objects of one unit, compiled with `probeText`, lay out alike: size, alignment, and
 * place and type of all members that both have. By their places in `records`. What is unclear is left out.
 */
export function laidOutAlike(
  before: Uint8Array,
  after: Uint8Array,
  records: readonly { readonly name: string; readonly change: MembersChange }[],
): ReadonlySet<number> {
  const [old, now] = [readElf(before), readElf(after)];
  const [oldDwarf, newDwarf] = [readDwarf(old), readDwarf(now)];
  if (oldDwarf === undefined || newDwarf === undefined) return new Set();
  const [pair] = pairScopes(oldDwarf, newDwarf);
  if (pair === undefined) return new Set();
  const alike = records.flatMap(({ name, change }, at) => {
    const [from, to] = [laidOut(pair[0], name), laidOut(pair[1], name)];
    const alignments = [old, now].map((file) => file.symbols.find((symbol) => symbol.name === alignmentName(at))?.size);
    if (from === undefined || to === undefined || from.size !== to.size) return [];
    if (alignments[0] === undefined || alignments[0] !== alignments[1]) return [];
    return isUnmoved(from.members, to.members, change) ? [at] : [];
  });
  return new Set(alike);
}

function laidOut({ aggregates, reader }: Scope, name: string): { size: number; members: LaidOut[] } | undefined {
  const entry = aggregates.get(name);
  if (entry === undefined) return undefined;
  const { size, members } = reader.layout(entry);
  return {
    size,
    members: members.map(({ path, bit, bits, type, typeOffset }) => ({
      path,
      bit,
      bits,
      type,
      isScalar: reader.kind(typeOffset) !== 'other',
      isBitField: bit % 8 !== 0 || bits !== reader.size(typeOffset) * 8,
    })),
  };
}

function isUnmoved(before: readonly LaidOut[], after: readonly LaidOut[], change: MembersChange): boolean {
  const now = new Map(after.map((member) => [member.path, member]));
  const old = new Map(before.map((member) => [member.path, member]));
  // Of two members without a name (padding by hand) it is not known which is which.
  if (now.size !== after.length || old.size !== before.length) return false;
  const stay = before.every(({ path, bit, bits, type }) => {
    const other = now.get(path);
    return other === undefined || (other.bit === bit && other.bits === bits && other.type === type);
  });
  const scalars = [...change.wrapped, ...(change.followed === undefined ? [] : [change.followed])];
  const areScalars = scalars.every((name) => old.get(name)?.isScalar === true && !old.get(name)?.isBitField);
  const fields = before.filter(({ isBitField }) => isBitField);
  const fresh = after.filter(({ path, bit, bits }) => !old.has(path) && !isCovered(before, bit, bits));
  const isApart = fresh.every(({ bit, bits }) => fields.every((field) => !shareWord(field, { bit, bits })));
  return stay && areScalars && isApart;
}

/** Whether a member lies within one of these, so that nothing is there that was padding before. */
function isCovered(members: readonly LaidOut[], bit: number, bits: number): boolean {
  return members.some((member) => member.bit <= bit && bit + bits <= member.bit + member.bits);
}

type Place = Pick<LaidOut, 'bit' | 'bits'>;

function shareWord(one: Place, other: Place): boolean {
  const words = ({ bit, bits }: Place): [first: number, last: number] => [
    Math.floor(bit / BIT_FIELD_REACH),
    Math.floor((bit + Math.max(bits, 1) - 1) / BIT_FIELD_REACH),
  ];
  const [[first, last], [otherFirst, otherLast]] = [words(one), words(other)];
  return first <= otherLast && otherFirst <= last;
}
