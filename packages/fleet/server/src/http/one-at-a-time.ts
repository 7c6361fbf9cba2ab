import { ServerError } from '../error.ts';

/** Lets one piece of work for a key run at a time; the others wait in the order in which they came. */
export class OneAtATime {
  readonly #waitMs: number;
  readonly #last = new Map<string, Promise<void>>();

  /** `waitMs`: longest that anyone waits. */
  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /** Resolves once it is the caller's turn, with what ends it. Throws `rate-limited` if that takes too long. */
  async turn(key: string): Promise<() => void> {
    const before = this.#last.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const mine = (before ?? Promise.resolve()).then(() => promise);
    this.#last.set(key, mine);
    const end = (): void => {
      resolve();
      if (this.#last.get(key) === mine) this.#last.delete(key);
    };
    if (before !== undefined && !(await inTime(before, this.#waitMs))) {
      end();
      throw new ServerError('rate-limited', 'another report of this host is under way; retry in 5 s', {
        details: { seconds: 5 },
      });
    }
    return end;
  }
}

async function inTime(work: Promise<void>, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), ms);
  void work.then(() => resolve(true));
  return await promise.finally(() => clearTimeout(timer));
}
