/**
 * Items of which `isGood` holds for all together: everything if it can be, else found by halving, those in front first.
 * None can be added to what it returns. `isGood` is asked about `k log n` times, if k items are in the way of n.
 */
export async function largestGood<T>(
  items: readonly T[],
  isGood: (items: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  const grow = async (base: readonly T[], more: readonly T[]): Promise<readonly T[]> => {
    if (more.length === 0) return base;
    const all = [...base, ...more];
    if (await isGood(all)) return all;
    if (more.length === 1) return base;
    const middle = Math.ceil(more.length / 2);
    return await grow(await grow(base, more.slice(0, middle)), more.slice(middle));
  };
  return await grow([], items);
}
