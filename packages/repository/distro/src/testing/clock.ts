import type { Clock } from '@kmend/base';
import { systemClock } from '@kmend/base/node';

/** A clock that stands where the test puts it. */
export class TestClock implements Clock {
  #now: Date;

  constructor(now: string) {
    this.#now = new Date(now);
  }

  set(now: string | Date): void {
    this.#now = new Date(now);
  }

  now(): Date {
    return new Date(this.#now);
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await systemClock.sleep(ms, signal);
  }
}
