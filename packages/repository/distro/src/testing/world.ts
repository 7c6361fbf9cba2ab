import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { errorCode } from '@kmend/base';
import { Depot, type Taken, type TakeOptions } from '../depot/depot.ts';
import { TestClock } from './clock.ts';
import { type Example, writeLivepatch } from './livepatch.ts';

/** A depot in a folder of its own, gone with the test. */
export interface World {
  readonly folder: string;
  readonly clock: TestClock;
  readonly depot: Depot;
  take(example: Example, options?: TakeOptions): Promise<Taken>;
}

export async function world(t: Pick<TestContext, 'after'>): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-distro-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const clock = new TestClock('2026-11-01T00:00:00Z');
  const depot = await Depot.create(join(folder, 'depot'), { clock });
  return {
    folder,
    clock,
    depot,
    take: async (example, options) =>
      await depot.take(await writeLivepatch(join(folder, 'built'), example), { unproven: true, ...options }),
  };
}

/** For `assert.rejects` and `assert.throws`: an error of kmend with this code. */
export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => errorCode(error) === code;
}
