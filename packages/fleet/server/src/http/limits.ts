import type { Clock } from '@kmend/base';
import { ServerError } from '../error.ts';

/** Addresses or hosts remembered at most; beyond that the oldest are forgotten. */
const REMEMBERED = 10_000;

/**
 * A bucket for each key that refills with time. In memory only: what it protects from is load and guessing, and a
 * restart forgives both.
 */
export class Limiter {
  readonly #what: string;
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, { level: number; at: number }>();

  /** `what` there is too much of, for the message. */
  constructor(what: string, burst: number, perSecond: number, clock: Clock) {
    this.#what = what;
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#clock = clock;
  }

  /** Takes one from the key's bucket; throws `rate-limited` if it is empty. */
  charge(key: string): void {
    const bucket = this.#bucket(key);
    if (bucket.level >= 1) {
      bucket.level -= 1;
      return;
    }
    const seconds = Math.ceil((1 - bucket.level) / this.#perSecond);
    throw new ServerError('rate-limited', `${this.#what}; retry in ${seconds} s`, { details: { seconds } });
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
