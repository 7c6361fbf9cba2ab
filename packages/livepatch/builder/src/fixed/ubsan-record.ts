import type { ShippedImage } from '../byte-proof/image.ts';
import { ARGUMENTS, argumentOf } from '../compare-objects/argument.ts';
import type { Atom } from '../object/atom.ts';
import { decodeInstruction } from '../object/instructions.ts';
import type { ObjectView, Target } from '../object/view.ts';

/** What follows the location in a record: pointers to descriptions of types, then bytes. */
interface Rest {
  readonly types: number;
  readonly bytes: number;
}

/** lib/ubsan.h, by the function that the record is handed to, without `__ubsan_handle_`. */
const RECORDS: ReadonlyMap<string, Rest> = new Map(
  Object.entries({
    add_overflow: { types: 1, bytes: 0 },
    sub_overflow: { types: 1, bytes: 0 },
    mul_overflow: { types: 1, bytes: 0 },
    negate_overflow: { types: 1, bytes: 0 },
    divrem_overflow: { types: 1, bytes: 0 },
    type_mismatch: { types: 1, bytes: 2 },
    type_mismatch_v1: { types: 1, bytes: 2 },
    out_of_bounds: { types: 2, bytes: 0 },
    shift_out_of_bounds: { types: 2, bytes: 0 },
    load_invalid_value: { types: 1, bytes: 0 },
    builtin_unreachable: { types: 0, bytes: 0 },
  }),
);

const POINTER = 8;
const TEXT_LIMIT = 4096;
const CHUNK = 64;
/** struct source_location: file name, line, column. */
const LOCATION = 16;
/** struct type_descriptor: kind and information in front of the name. */
const TYPE_HEAD = 4;

/**
 * What the record is like that a field of code hands to UBSAN; `undefined` where the field does something else.
 * `plain`: the name of a symbol as the kernel knows it.
 */
export function ubsanRecord(
  view: ObjectView,
  atom: Atom,
  field: number,
  plain: (name: string) => string,
): Rest | undefined {
  if (atom.kind !== 'function') return undefined;
  for (let at = atom.start; at <= field; ) {
    const end = at + (decodeInstruction(atom.section.data, at)?.length ?? 1);
    if (field < end) {
      const use = argumentOf(view, atom, at);
      if (use === undefined || use.register !== ARGUMENTS[0]) return undefined;
      const [, handler = ''] = /^__ubsan_handle_(\w+)$/.exec(plain(use.callee)) ?? [];
      return RECORDS.get(handler);
    }
    at = end;
  }
  return undefined;
}

/**
 * Whether a record says of file and types what the one at an address of a kernel does. Lines and columns are left out:
 * the livepatch has those of the running kernel's source. In a finished module records and descriptions have no names
 * and no ends.
 */
export function isSameRecord(
  view: ObjectView,
  { atom, offset }: Pick<Target, 'atom' | 'offset'>,
  { types, bytes }: Rest,
  image: ShippedImage,
  start: bigint,
): boolean {
  if (atom === undefined) return false;
  const begin = atom.start + offset;
  const fields = new Map(view.relocationsIn(atom).map((relocation) => [relocation.offset - begin, relocation]));
  /** The text that a pointer of both leads to, behind `head` bytes. */
  const texts = (at: number, head: number): readonly [own: Buffer, there: Buffer] | undefined => {
    const relocation = fields.get(at);
    const pointer = image.read(start + BigInt(at), POINTER);
    if (relocation === undefined || pointer === undefined) return undefined;
    const target = view.targetOf(atom.section, relocation);
    const own = target.atom?.section.data.subarray(target.atom.start + target.offset);
    const there = textAt(image, new DataView(pointer.buffer, pointer.byteOffset).getBigUint64(0, true), head);
    const end = own?.indexOf(0, head) ?? -1;
    return own === undefined || there === undefined || end === -1
      ? undefined
      : [Buffer.from(own.subarray(0, end)), there];
  };
  const isSameFile = (): boolean => {
    const [own, there] = texts(0, 0)?.map((text) => text.toString('latin1')) ?? [];
    // Debian's 7.2 has whole paths, /build/reproducible-path/linux-7.2.12/include/net/sock.h for ./include/net/sock.h.
    return (
      own !== undefined && own !== '' && (own === there || there?.endsWith(`/${own.replace(/^\.\//, '')}`) === true)
    );
  };
  const isSameType = (at: number): boolean => {
    const [own, there] = texts(at, TYPE_HEAD) ?? [];
    return own !== undefined && there !== undefined && own.equals(there);
  };
  const tail = LOCATION + types * POINTER;
  const own = atom.section.data.subarray(begin + tail, begin + tail + bytes);
  const there = bytes === 0 ? own : image.read(start + BigInt(tail), bytes);
  return (
    isSameFile() &&
    Array.from({ length: types }, (_, type) => isSameType(LOCATION + type * POINTER)).every(Boolean) &&
    own.length === bytes &&
    there !== undefined &&
    Buffer.compare(own, there) === 0
  );
}

/** Without its zero; `head`: bytes in front of the text, zeros among them. */
function textAt(image: ShippedImage, address: bigint, head: number): Buffer | undefined {
  const parts: Uint8Array[] = [];
  for (let size = 0; size < TEXT_LIMIT; ) {
    // At the end of a section there is less to read.
    const place = address + BigInt(size);
    const part = image.read(place, CHUNK) ?? image.read(place, 1);
    if (part === undefined) return undefined;
    parts.push(part);
    size += part.length;
    const all = Buffer.concat(parts);
    const end = all.indexOf(0, head);
    if (end !== -1) return all.subarray(0, end);
  }
  return undefined;
}
