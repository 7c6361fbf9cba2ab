import { SHF_STRINGS, SHF_WRITE } from '@kmend/elf';
import type { Address } from './address.ts';
import type { Beside } from './check-twins.ts';
import type { Findings } from './finding.ts';
import type { Loaded } from './loaded.ts';
import { baseName, type OwnCode, type OwnFunction } from './own-code.ts';
import type { Reference } from './references.ts';
import { TEXTS } from './same-thing.ts';
import type { ShippedPart } from './shipped-code.ts';
import type { Simulation } from './simulation.ts';
import type { World } from './world.ts';

/** What a function refers to, by names that mean the same in every kernel, and how often. */
export type Tally = ReadonlyMap<string, number>;

/**
 * Data that no name tells apart: of no size (`struct lock_class_key` without lockdep), so that it shares its address
 * with what lies behind it, or without a symbol. The same source refers to it by another name in each build.
 */
export const NAMELESS = 'data without a name of its own';

/** One thing that is referred to in the place of another. */
export interface Exchange {
  readonly here: string;
  readonly there: string;
}

/**
 * Compares how often a function of the livepatch refers to each thing with the function of a fixed kernel that differs
 * from it otherwise, so that single instructions cannot be put beside each other. If exactly one reference leads to
 * something else there, and the shipped function does not refer to what the livepatch has in its place as often either,
 * no version of the source has it: the reference is wrong.
 */
export function checkBalance(all: readonly Beside[], simulation: Simulation, findings: Findings): void {
  for (const { functions, shipped, fixed } of all) {
    const [main] = functions;
    if (main === undefined || shipped === undefined) continue;
    const here = tally(functions.flatMap((one) => ownKeys(one, functions, simulation)));
    const before = tally(shippedKeys(shipped.parts, shipped.world));
    for (const { isWhole, parts, world: other } of fixed) {
      if (isWhole) continue;
      const found = exchanged(here, tally(shippedKeys(parts, other)), before);
      if (found === undefined) continue;
      findings.add(
        'reference-differs',
        `${main.name} refers to ${found.here}, where the fixed kernel ${other.kernel.release} has ${found.there}; neither that nor the running kernel has it as often`,
        { symbol: main.name },
      );
    }
  }
}

/**
 * The one exchange that tells two tallies apart, if `before` does not have what came in as often; `undefined` where
 * they differ in more, or less.
 */
export function exchanged(here: Tally, there: Tally, before: Tally): Exchange | undefined {
  const more: string[] = [];
  const less: string[] = [];
  for (const key of new Set([...here.keys(), ...there.keys()])) {
    const difference = (here.get(key) ?? 0) - (there.get(key) ?? 0);
    const side = difference > 0 ? more : less;
    for (let count = Math.abs(difference); count > 0; count--) side.push(key);
    if (more.length > 1 || less.length > 1) return undefined;
  }
  const [gained] = more;
  const [lost] = less;
  if (gained === undefined || lost === undefined || gained === NAMELESS || lost === NAMELESS) return undefined;
  return (here.get(gained) ?? 0) > (before.get(gained) ?? 0) ? { here: gained, there: lost } : undefined;
}

function tally(keys: readonly string[]): Tally {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function kindOf({ kind }: Reference): string {
  return kind === 'call' || kind === 'jump' || kind === 'branch' ? 'call of ' : '';
}

function shippedKeys(parts: readonly ShippedPart[], world: World): string[] {
  const isInside = (target: Address): boolean =>
    parts.some(({ address, code }) => target >= address && target < address + code.length);
  return parts.flatMap(({ references }) =>
    references
      .filter(({ target }) => !isInside(target))
      .map((reference) => `${kindOf(reference)}${shippedName(reference.target, world)}`),
  );
}

function ownKeys(one: OwnFunction, functions: readonly OwnFunction[], { world, loaded, own }: Simulation): string[] {
  return one.references.flatMap((reference) => {
    const code = own.functionAt(reference.target);
    if (code !== undefined && functions.includes(code.function)) return [];
    const name =
      loaded.at(reference.target) === undefined
        ? shippedName(reference.target, world)
        : ownName(reference.target, loaded, own);
    return [`${kindOf(reference)}${name}`];
  });
}

function shippedName(target: Address, world: World): string {
  const located = world.locate(target);
  if (located === undefined) return `number ${target}`;
  const names = located.names.filter((each) => !each.startsWith('.L')).sort();
  const [name] = names;
  const distance = target - located.start;
  if (!located.isCode && located.isWritable && (name === undefined || new Set(names.map(baseName)).size > 1))
    return NAMELESS;
  const isConstant = !located.isCode && !located.isWritable;
  if (isConstant && (name === undefined || distance !== 0 || TEXTS.test(baseName(name))))
    return contentName(world.read(target, TEXT_LIMIT) ?? world.read(target, 8));
  return placeName(name ?? located.object, distance);
}

function ownName(target: Address, loaded: Loaded, own: OwnCode): string {
  const place = loaded.at(target);
  const code = own.functionAt(target);
  if (place === undefined) return '';
  const { section, offset } = place;
  if (code !== undefined) return placeName(code.function.name, code.offset);
  const held = own.dataAt(section, offset);
  if (held === undefined && (section.flags & SHF_WRITE) !== 0) return NAMELESS;
  const isText = (section.flags & SHF_STRINGS) !== 0;
  if (isText || held === undefined || held.name.startsWith('.') || TEXTS.test(baseName(held.name)))
    return contentName(loaded.memory(section).subarray(offset, offset + TEXT_LIMIT));
  return placeName(held.name, offset - held.start);
}

function placeName(name: string, distance: number): string {
  return `${baseName(name)}${distance === 0 ? '' : `${distance < 0 ? '-' : '+'}${Math.abs(distance)}`}`;
}

/** Length of the beginning of a text that distinguishes it from others. */
const TEXT_LIMIT = 64;

/** Texts and nameless constants by their bytes up to the first that is 0. */
function contentName(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'constant';
  const end = bytes.indexOf(0);
  return JSON.stringify(Buffer.from(bytes.subarray(0, end === -1 ? bytes.length : end)).toString('latin1'));
}
