import type { ProofMemory } from '@kmend/protocol';

/** Rounds before the first sample: the first ones fill slab caches and per-processor lists that stay full. */
export const WARM_UP = 2;

/**
 * Bytes by which a sample strays at least. Measured on 6.1.0-47 in a guest of two processors: over 22 rounds of a sound
 * livepatch a standard deviation of 45 KiB for single readings and no trend; 20 KiB for the lowest of three, also
 * behind a load and on a machine with six times as much to do as it can.
 */
const NOISE = 64 * 1024;
/** Standard errors between noise and a leak: one false alarm in millions of proofs. */
const ERRORS = 5;
/** Rounds at least that are made beyond those requested where these look like a leak. */
const MORE_ROUNDS = 8;

/**
 * How many rounds to make in all, once those requested are made: more where they look like a leak. What filled up once
 * (a guest that is starved of its processors frees things late) stops growing; a leak does not.
 */
export function roundsInAll(requested: number, samples: readonly number[]): number {
  return leaks(judgeMemory(samples)) ? requested + Math.max(requested, MORE_ROUNDS) : requested;
}

/** A smaller growth cannot be distinguished from noise with any number of rounds: one page. */
const SMALLEST = 4096;

/**
 * Judges samples of the memory in use, one before and one behind each round. The slope is Theil and Sen's, the median
 * of the slopes between all pairs of samples: one process that happened to be there while a sample was taken moves a
 * mean or a least-squares line, but not this. The bound is five standard errors of a slope through that many samples,
 * so that fewer rounds find larger leaks only, and say so: 12 KiB a round for 20 rounds, 101 KiB for 4. Where the
 * samples stray more around their own line (a guest that is starved of its processors), it widens with them.
 */
export function judgeMemory(samples: readonly number[]): ProofMemory {
  const middle = (samples.length - 1) / 2;
  const spread = Math.sqrt(samples.reduce((sum, _, index) => sum + (index - middle) ** 2, 0));
  const slope = slopeOf(samples);
  const bound = Math.max(SMALLEST, (ERRORS * Math.max(NOISE, scatterOf(samples, slope))) / spread);
  return { warmUp: WARM_UP, samples: [...samples], slope, bound: Math.round(bound) };
}

export function leaks({ slope, bound }: ProofMemory): boolean {
  return slope > bound;
}

function slopeOf(samples: readonly number[]): number {
  const slopes = samples.flatMap((later, j) => samples.slice(0, j).map((earlier, i) => (later - earlier) / (j - i)));
  return Math.round(median(slopes));
}

/** Standard deviation around the line of that slope, from the median distance, which few strays do not move either. */
function scatterOf(samples: readonly number[], slope: number): number {
  const levels = samples.map((value, index) => value - slope * index);
  const level = median(levels);
  return 1.4826 * median(levels.map((value) => Math.abs(value - level)));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  return ((sorted[Math.floor(last / 2)] ?? 0) + (sorted[Math.ceil(last / 2)] ?? 0)) / 2;
}
