/** Seconds that test files took in an earlier run, by path from the checkout's root. */
export type Seconds = Readonly<Record<string, number>>;

const UNKNOWN_IN_A_GUEST_S = 120;
const UNKNOWN_S = 1;

/**
 * The longest first, so that no long file is left alone at the end while the other processors have nothing to do. An
 * end-to-end test without a figure counts as a long one.
 */
export function longestFirst(files: readonly string[], seconds: Seconds): string[] {
  const of = (file: string): number =>
    seconds[file] ?? (file.startsWith('test/e2e/') ? UNKNOWN_IN_A_GUEST_S : UNKNOWN_S);
  return [...files].sort((a, b) => of(b) - of(a) || (a < b ? -1 : 1));
}
