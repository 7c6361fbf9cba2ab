import type { Clock } from '@kmend/base';
import { ServerError } from '../error.ts';

/** Addresses or hosts remembered at most; beyond that the oldest are forgotten. */
const REMEMBERED = 10_000;

/**
 * A bucket for each key that refills with time. In memory only: what it protects from is load and guessing, and a restart
 * forgives both.
 */
export class Limiter {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, { level: number; at: number }>();

  constructor(burst: number, perSecond: number, clock: Clock) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#clock = clock;
  }

  /** Throws `rate-limited` while the key's bucket is empty; takes nothing. */
  check(key: string): void {
    const bucket = this.#bucket(key);
    if (bucket.level >= 1) return;
    const seconds = Math.ceil((1 - bucket.level) / this.#perSecond);
    throw new ServerError('rate-limited', `too many requests; try again in ${seconds} s`, { details: { seconds } });
  }

  take(key: string): void {
    this.#bucket(key).level -= 1;
  }

  #bucket(key: string): { level: number; at: number } {
    const now = this.#clock.monotonic();
    const known = this.#buckets.get(key) ?? { level: this.#burst, at: now };
    known.level = Math.min(this.#burst, known.level + ((now - known.at) / 1000) * this.#perSecond);
    known.at = now;
    // Moved to the end: the map's order is the order of last use.
    this.#buckets.delete(key);
    this.#buckets.set(key, known);
    const oldest = this.#buckets.size > REMEMBERED ? this.#buckets.keys().next().value : undefined;
    if (oldest !== undefined) this.#buckets.delete(oldest);
    return known;
  }
}
