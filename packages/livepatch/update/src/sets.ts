/** Names whose definitions alone are taken of a header's change, by the header's path. */
type Parts = Readonly<Record<string, readonly string[]>>;

/** A fix that can be built by itself. */
export interface Candidate {
  /** Files of the update that it consists of. */
  readonly paths: readonly string[];
  readonly parts?: Parts | undefined;
  /** Sources of the functions that it replaces: those that use a header of it are among them. */
  readonly patched: readonly string[];
}

/**
 * Groups of fixes that concern each other: they have a file in common, or one replaces functions of a file that the
 * other changes, as the users of a header. Only one fix may change a file, since the second patch would not apply; and
 * the fixes of different groups have nothing to do with each other for the compiler. In the order of their first
 * members.
 */
export function connectedSets<T extends Candidate>(candidates: readonly T[]): T[][] {
  const owners = new Map<string, number>();
  const parent = candidates.map((_, index) => index);
  const root = (index: number): number => {
    const up = parent[index] ?? index;
    return up === index ? index : root(up);
  };
  const join = (one: number, other: number): void => {
    const [a, b] = [root(one), root(other)];
    parent[Math.max(a, b)] = Math.min(a, b);
  };
  candidates.forEach(({ paths }, index) => {
    for (const path of paths) {
      const owner = owners.get(path);
      if (owner === undefined) owners.set(path, index);
      else join(owner, index);
    }
  });
  candidates.forEach(({ patched }, index) => {
    for (const path of patched) {
      const owner = owners.get(path);
      if (owner !== undefined) join(owner, index);
    }
  });
  const sets = new Map<number, T[]>();
  candidates.forEach((candidate, index) => {
    const key = root(index);
    sets.set(key, [...(sets.get(key) ?? []), candidate]);
  });
  return [...sets.values()];
}

/** All files of several fixes as one. A header that one of them takes whole is taken whole. */
export function joined(candidates: readonly Pick<Candidate, 'paths' | 'parts'>[]): Pick<Candidate, 'paths' | 'parts'> {
  const paths = [...new Set(candidates.flatMap((candidate) => candidate.paths))];
  const parts: Record<string, readonly string[]> = {};
  for (const path of paths) {
    const having = candidates.filter((candidate) => candidate.paths.includes(path));
    const names = having.map((candidate) => candidate.parts?.[path]);
    if (names.every((list) => list !== undefined)) parts[path] = [...new Set(names.flat())].sort();
  }
  return { paths, ...(Object.keys(parts).length > 0 && { parts }) };
}
