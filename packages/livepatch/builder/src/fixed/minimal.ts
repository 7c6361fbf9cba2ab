/**
 * A smallest part of `all` (in the sense that none of it can be left out) for which `holds` is true, where it is true
 * of `all` and not of nothing: QuickXplain (Junker, 2004). Asks about k·log(n/k) times for a part of k. What stands
 * first is preferred. `undefined` where `holds` gives up.
 */
export async function minimalPart<T>(
  all: readonly T[],
  holds: (part: readonly T[]) => Promise<boolean | undefined>,
): Promise<readonly T[] | undefined> {
  let gaveUp = false;
  const ask = async (part: readonly T[]): Promise<boolean> => {
    const answer = gaveUp ? undefined : await holds(part);
    gaveUp ||= answer === undefined;
    return answer ?? false;
  };
  const explain = async (given: readonly T[], isNew: boolean, rest: readonly T[]): Promise<readonly T[]> => {
    if (gaveUp || (isNew && (await ask(given)))) return [];
    if (rest.length <= 1) return rest;
    const half = Math.ceil(rest.length / 2);
    const [first, second] = [rest.slice(0, half), rest.slice(half)];
    const ofSecond = await explain([...given, ...first], first.length > 0, second);
    const ofFirst = await explain([...given, ...ofSecond], ofSecond.length > 0, first);
    return [...ofFirst, ...ofSecond];
  };
  const part = await explain([], false, all);
  // What a part needs to compile can break the assumption that more never hurts.
  return !gaveUp && (await ask(part)) && !gaveUp ? part : undefined;
}
