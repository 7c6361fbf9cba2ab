import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { withExclusiveUse, withSharedUse } from './use.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kmend-use-'));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test('lets users in side by side, and one that wants it alone only when none is left', async (t) => {
  const directory = await folder(t);
  const order: string[] = [];
  const user = (name: string, ms: number) => async (): Promise<void> => {
    order.push(`${name} begins`);
    await delay(ms);
    order.push(`${name} ends`);
  };
  const both = [withSharedUse(directory, user('a', 300)), withSharedUse(directory, user('b', 300))];
  await delay(100);
  const waits: number[] = [];
  const alone = withExclusiveUse(directory, user('alone', 400), { onWait: (pid) => waits.push(pid) });
  await delay(100);
  // Held back at once, though the one that wants it alone is still waiting.
  const late = withSharedUse(directory, user('late', 1));
  await Promise.all([...both, alone, late]);
  assert.deepEqual(order.slice(0, 2).sort(), ['a begins', 'b begins']);
  assert.deepEqual(order.slice(4), ['alone begins', 'alone ends', 'late begins', 'late ends']);
  assert.deepEqual(waits, [process.pid]);
  assert.deepEqual(await readdir(join(directory, '.users')), []);
});

test('counts no mark of a dead user, and ends its wait when interrupted', async (t) => {
  const directory = await folder(t);
  await mkdir(join(directory, '.users'));
  await writeFile(join(directory, '.users', '4194305-dead'), '4194305 none 1\n');
  assert.equal(await withExclusiveUse(directory, async () => 'alone'), 'alone');
  await writeFile(join(directory, '.users', `${process.ppid}-living`), `${process.ppid}\n`);
  const interrupt = AbortSignal.timeout(100);
  await assert.rejects(
    withExclusiveUse(directory, async () => 'never', { signal: interrupt }),
    /abort/i,
  );
  assert.deepEqual((await readdir(directory)).sort(), ['.users']);
});
