import assert from 'node:assert/strict';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '../error.ts';
import { withLock } from './lock.ts';

test('lets one holder in at a time and removes the lock afterwards, also after a failure', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-lock-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'lock');
  let inside = 0;
  const work = async (): Promise<void> => {
    inside++;
    assert.equal(inside, 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    inside--;
  };
  await Promise.all([withLock(path, work), withLock(path, work)]);
  await assert.rejects(
    withLock(path, async () => {
      throw new Error('failed');
    }),
    /failed/,
  );
  await assert.rejects(access(path));
});

test('takes a lock over from a dead holder, and names a living one', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-lock-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'lock');
  await writeFile(path, '4194305\n');
  assert.equal(await withLock(path, async () => 'taken'), 'taken');
  await writeFile(path, `${process.ppid}\n`);
  await assert.rejects(
    withLock(path, async () => 'never', { timeoutMs: 0 }),
    (error) => errorCode(error) === 'lock-held',
  );
});

test('does not name a new process as the holder of a lock from before a reboot', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-lock-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'lock');
  await writeFile(path, `${process.ppid} 00000000-0000-4000-8000-000000000000 1\n`);
  assert.equal(await withLock(path, async () => 'taken', { timeoutMs: 0 }), 'taken');
  await withLock(path, async () => {
    await assert.rejects(
      withLock(path, async () => 'never', { timeoutMs: 0 }),
      (error) => errorCode(error) === 'lock-held',
    );
  });
});
