import type { ProofMemory } from '@kmend/protocol';

/** Rounds before the first sample: the first ones fill slab caches and per-processor lists that stay full. */
export const WARM_UP = 2;

/**
 * Bytes by which a sample strays. Measured on 6.1.0-47 over 22 rounds of a sound livepatch in a guest of two processors: standard deviation 45 KiB,
 * no trend.
 */
const NOISE = 64 * 1024;
/** Standard errors between noise and a leak: one false alarm in millions of proofs. */
const ERRORS = 5;
/** A smaller growth is not told from noise with any number of rounds: one page. */
const SMALLEST = 4096;

/**
 * Judges samples of the memory in use, one before and one behind each round. The slope is Theil and Sen's, the median of the slopes between all pairs
 * of samples: one process that happened to be there while a sample was taken moves a mean or a least-squares line, but not this. The bound is
 * five standard errors of a slope through that many samples, so that fewer rounds find larger leaks only, and say so: 12 KiB a round for 20
 * rounds, 101 KiB for 4.
 */
export function judgeMemory(samples: readonly number[]): ProofMemory {
  const middle = (samples.length - 1) / 2;
  const spread = Math.sqrt(samples.reduce((sum, _, index) => sum + (index - middle) ** 2, 0));
  const bound = Math.max(SMALLEST, (ERRORS * NOISE) / spread);
  return { warmUp: WARM_UP, samples: [...samples], slope: slopeOf(samples), bound: Math.round(bound) };
}

export function leaks({ slope, bound }: ProofMemory): boolean {
  return slope > bound;
}

function slopeOf(samples: readonly number[]): number {
  const slopes = samples.flatMap((later, j) => samples.slice(0, j).map((earlier, i) => (later - earlier) / (j - i)));
  slopes.sort((a, b) => a - b);
  const half = slopes.length / 2;
  const low = slopes[Math.ceil(half) - 1] ?? 0;
  const high = slopes[Math.floor(half)] ?? 0;
  return Math.round((low + high) / 2);
}
