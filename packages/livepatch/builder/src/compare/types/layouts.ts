import type { Kind, Layout, Member } from './model.ts';
import type { Scope } from './scope.ts';

/** In the order people want to read them: what follows from something else comes last. */
const KINDS = ['size', 'removed', 'added', 'retyped', 'resized', 'reinterpreted', 'renamed', 'moved'] as const;

/** What is different about one member, or about the size of the whole. */
export interface Difference {
  readonly kind: (typeof KINDS)[number];
  readonly text: string;
}

/** A named struct or union that is not laid out as before. */
export interface ChangedLayout {
  readonly name: string;
  readonly differences: readonly Difference[];
  /** Named types that hold it and changed for that reason alone. */
  readonly holders: readonly string[];
}

/** All named structs and unions that both units define, and differently. */
export function compareLayouts(original: Scope, patched: Scope): ChangedLayout[] {
  const found = new Map<string, readonly Difference[]>();
  const held = new Map<string, string[]>();
  const canStay: CanStay = (old, now) =>
    canReinterpret(original.reader.kind(old.typeOffset), patched.reader.kind(now.typeOffset));
  for (const [name, entry] of original.aggregates) {
    const counterpart = patched.aggregates.get(name);
    if (counterpart === undefined) continue;
    const after = patched.reader.layout(counterpart);
    const differences = diffLayouts(original.reader.layout(entry), after, canStay);
    if (differences.length === 0) continue;
    found.set(name, differences);
    held.set(
      name,
      after.members.flatMap(({ embeds }) => embeds ?? []),
    );
  }
  const holders = new Map<string, string[]>([...found.keys()].map((name) => [name, []]));
  const own = [...found].filter(([name, differences]) => {
    const causes = differences.every(isShift) ? resized(held.get(name) ?? [], found) : [];
    for (const cause of causes) holders.get(cause)?.push(name);
    return causes.length === 0;
  });
  return own.map(([name, differences]) => ({ name, differences, holders: holdersOf(name, holders) }));
}

/** What happens to a struct when something in it grows. */
function isShift({ kind }: Difference): boolean {
  return kind === 'size' || kind === 'moved' || kind === 'resized';
}

function resized(names: readonly string[], found: ReadonlyMap<string, readonly Difference[]>): string[] {
  return names.filter((name) => found.get(name)?.some(({ kind }) => kind === 'size'));
}

/** Through any number of types. */
function holdersOf(name: string, direct: ReadonlyMap<string, readonly string[]>): string[] {
  const all = new Set<string>();
  const queue = [name];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const holder of direct.get(next) ?? []) {
      if (all.has(holder)) continue;
      all.add(holder);
      queue.push(holder);
    }
  }
  return [...all].sort();
}

/** Whether values that are there can be read as the new type. */
type CanStay = (old: Member, now: Member) => boolean;

/** Member by member, by name and by place. */
function diffLayouts(before: Layout, after: Layout, canStay: CanStay): Difference[] {
  if (isSame(before, after)) return [];
  const differences: Difference[] = [];
  if (before.size !== after.size) {
    differences.push({ kind: 'size', text: `size ${before.size} -> ${after.size}` });
  }
  const [oldNames, newNames] = [byPath(before), byPath(after)];
  const [oldPlaces, newPlaces] = [byPlace(before), byPlace(after)];
  for (const member of after.members) {
    const old = oldNames.get(member.path);
    if (old !== undefined) {
      const difference = diffMember(old, member, canStay);
      if (difference !== undefined) differences.push(difference);
      continue;
    }
    const there = oldPlaces.get(placeOf(member));
    if (there === undefined) {
      differences.push({ kind: 'added', text: `member ${member.path} added at ${position(member)}` });
    } else if (!newPlaces.has(placeOf(member)) || !there.some(({ path }) => newNames.has(path))) {
      const names = there.map(({ path }) => path).join(', ');
      differences.push({
        kind: 'renamed',
        text: `member ${names} at ${position(member)} is now called ${member.path}`,
      });
    }
  }
  for (const member of before.members) {
    if (!newNames.has(member.path) && !newPlaces.has(placeOf(member))) {
      differences.push({ kind: 'removed', text: `member ${member.path} removed at ${position(member)}` });
    }
  }
  return differences.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
}

function isSame(before: Layout, after: Layout): boolean {
  return (
    before.size === after.size &&
    before.members.length === after.members.length &&
    before.members.every((member, index) => {
      const other = after.members[index];
      return (
        member.path === other?.path &&
        member.bit === other.bit &&
        member.bits === other.bits &&
        member.type === other.type
      );
    })
  );
}

function diffMember(old: Member, member: Member, canStay: CanStay): Difference | undefined {
  const { path } = member;
  if (old.bit !== member.bit) {
    return { kind: 'moved', text: `member ${path} moved from ${position(old)} to ${position(member)}` };
  }
  const types = `member ${path} at ${position(member)}: ${old.type} -> ${member.type}`;
  if (old.bits !== member.bits) {
    if (old.type !== member.type) return { kind: 'retyped', text: types };
    const unit = old.bits % 8 === 0 && member.bits % 8 === 0 ? ([8, 'bytes'] as const) : ([1, 'bits'] as const);
    const sizes = `${old.bits / unit[0]} -> ${member.bits / unit[0]} ${unit[1]}`;
    return { kind: 'resized', text: `member ${path} at ${position(member)}: ${sizes}` };
  }
  if (old.type === member.type) return undefined;
  return { kind: canStay(old, member) ? 'reinterpreted' : 'retyped', text: types };
}

/**
 * Values of the one type are values of the other, if perhaps with another meaning: integers of one size; pointers that
 * say less or more.
 */
export function canReinterpret(old: Kind, now: Kind): boolean {
  if (old === 'integer') return now === 'integer';
  const isPointer = (kind: Kind): boolean => kind === 'pointer' || kind === 'void-pointer';
  return isPointer(old) && isPointer(now) && (old === 'void-pointer' || now === 'void-pointer');
}

function byPath(layout: Layout): Map<string, Member> {
  return new Map(layout.members.map((member) => [member.path, member]));
}

function byPlace(layout: Layout): Map<string, Member[]> {
  const places = new Map<string, Member[]>();
  for (const member of layout.members) {
    const place = placeOf(member);
    places.set(place, [...(places.get(place) ?? []), member]);
  }
  return places;
}

/** Where a member lies and what it is, whatever it is called. */
function placeOf({ bit, bits, type }: Member): string {
  return `${bit}:${bits}:${type}`;
}

/** In bytes, with the bit where it begins inside one. */
function position({ bit }: Member): string {
  return bit % 8 === 0 ? `${bit / 8}` : `${Math.floor(bit / 8)} bit ${bit % 8}`;
}
