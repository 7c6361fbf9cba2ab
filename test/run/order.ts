/** Seconds that test files took in an earlier run, by path from the checkout's root. */
export type Seconds = Readonly<Record<string, number>>;

/** Files that one process runs, one after the other. */
export type Batch = readonly string[];

export interface Sharing {
  /** Files in one process. */
  readonly atMost: number;
  /** Files that share no process, long or short. */
  readonly alone: ReadonlySet<string>;
}

const UNKNOWN_IN_A_GUEST_S = 120;
const UNKNOWN_S = 1;

/**
 * The longest first, so that no long file is left alone at the end while the other processors have nothing to do. An
 * end-to-end test without a figure counts as a long one.
 */
export function longestFirst(files: readonly string[], seconds: Seconds): string[] {
  const of = (file: string): number => seconds[file] ?? (inGuest(file) ? UNKNOWN_IN_A_GUEST_S : UNKNOWN_S);
  return [...files].sort((a, b) => of(b) - of(a) || (a < b ? -1 : 1));
}

/**
 * Long files have a process each. Short ones share one, `atMost` of them: starting Node and loading the code takes
 * longer than they do. Neighbours stay together, since they load the same code. Long files come first.
 */
export function batches(files: readonly string[], seconds: Seconds, { atMost, alone }: Sharing): Batch[] {
  const isAlone = (file: string): boolean => seconds[file] !== undefined || inGuest(file) || alone.has(file);
  const long = longestFirst(files.filter(isAlone), seconds).map((file) => [file]);
  const short = files.filter((file) => !isAlone(file)).sort();
  const groups = Math.ceil(short.length / atMost);
  const size = Math.ceil(short.length / Math.max(1, groups));
  return [...long, ...Array.from({ length: groups }, (_, n) => short.slice(n * size, (n + 1) * size))];
}

function inGuest(file: string): boolean {
  return file.startsWith('test/e2e/');
}
