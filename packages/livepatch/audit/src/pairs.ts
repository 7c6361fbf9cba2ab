/** Larger differences are not searched for: such sequences are unrelated. */
const EDITS = 400;

/**
 * Pairs equal elements of two sequences so that as many as can be are paired (Myers, "An O(ND) difference algorithm",
 * 1986). For each element of the first: the index in the second, or -1. `undefined` where they differ too much.
 */
export function pairsOf(first: readonly string[], second: readonly string[]): Int32Array | undefined {
  const rows = first.length;
  const columns = second.length;
  const furthest = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let edits = 0; edits <= Math.min(rows + columns, EDITS); edits++) {
    const here = new Map<number, number>();
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const left = furthest.get(diagonal - 1) ?? -1;
      const above = furthest.get(diagonal + 1) ?? -1;
      let row = diagonal === -edits || (diagonal !== edits && left < above) ? above : left + 1;
      while (row < rows && row - diagonal < columns && row >= 0 && first[row] === second[row - diagonal]) row++;
      furthest.set(diagonal, row);
      here.set(diagonal, row);
      if (row >= rows && row - diagonal >= columns) {
        trace.push(here);
        return backtrack(trace, rows, columns);
      }
    }
    trace.push(here);
  }
  return undefined;
}

function backtrack(trace: readonly Map<number, number>[], rows: number, columns: number): Int32Array {
  const pairs = new Int32Array(rows).fill(-1);
  let row = rows;
  let column = columns;
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const diagonal = row - column;
    const before = trace[edits - 1];
    let start = 0;
    let next = 0;
    if (before !== undefined) {
      const left = before.get(diagonal - 1) ?? -1;
      const above = before.get(diagonal + 1) ?? -1;
      const isDown = diagonal === -edits || (diagonal !== edits && left < above);
      next = isDown ? above : left;
      start = isDown ? above : left + 1;
      column = isDown ? next - (diagonal + 1) : next - (diagonal - 1);
    }
    for (let index = start; index < row; index++) pairs[index] = index - diagonal;
    row = next;
  }
  return pairs;
}
