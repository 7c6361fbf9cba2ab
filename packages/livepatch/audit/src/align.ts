/** A run of one sequence that has nothing equal in the other, beside the run of the other that lies in the same gap. */
export interface Gap {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Larger tables are not made: what lies between is one gap. */
const CELLS = 4_000_000;

/** Gaps between the longest common subsequence of two sequences, as indexes. */
export function gapsOf(before: readonly string[], after: readonly string[]): Gap[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail++;
  const rows = before.length - head - tail;
  const columns = after.length - head - tail;
  const whole = (): Gap => ({
    before: Array.from({ length: rows }, (_, index) => head + index),
    after: Array.from({ length: columns }, (_, index) => head + index),
  });
  if (rows === 0 && columns === 0) return [];
  if (rows === 0 || columns === 0 || (rows + 1) * (columns + 1) > CELLS) return [whole()];
  const width = columns + 1;
  const lengths = new Uint16Array((rows + 1) * width);
  for (let row = rows - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--) {
      lengths[row * width + column] =
        before[head + row] === after[head + column]
          ? (lengths[(row + 1) * width + column + 1] ?? 0) + 1
          : Math.max(lengths[(row + 1) * width + column] ?? 0, lengths[row * width + column + 1] ?? 0);
    }
  }
  const gaps: Gap[] = [];
  let open: { before: number[]; after: number[] } = { before: [], after: [] };
  const close = (): void => {
    if (open.before.length + open.after.length > 0) gaps.push(open);
    open = { before: [], after: [] };
  };
  let row = 0;
  let column = 0;
  while (row < rows || column < columns) {
    if (row < rows && column < columns && before[head + row] === after[head + column]) {
      close();
      row++;
      column++;
    } else if (
      column >= columns ||
      (row < rows && (lengths[(row + 1) * width + column] ?? 0) >= (lengths[row * width + column + 1] ?? 0))
    ) {
      open.before.push(head + row++);
    } else {
      open.after.push(head + column++);
    }
  }
  close();
  return gaps;
}
