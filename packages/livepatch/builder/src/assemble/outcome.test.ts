import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OutcomeCache, type UnitOutcome } from './outcome.ts';

const KEY = 'ab'.repeat(32);
const OUTCOME: UnitOutcome = {
  ...{ source: 'a/unit.c', object: 'mod', reasons: [], functions: [], callbacks: [], resolutions: [] },
  ...{ registered: [{ oldName: 'f', sympos: 0, alias: 'new_f' }], provides: [], unknown: [], dependsOn: [] },
  proof: { equal: 1, different: [] },
};
const OBJECT = Buffer.from('object');
const MADE_OF = { paths: ['include/linux/a.h'], digest: 'now' };
let current = 'now';

async function cacheOf(t: TestContext): Promise<{ readonly cache: OutcomeCache; readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-outcome-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return {
    cache: new OutcomeCache(directory, ({ digest }) => digest === current),
    directory: join(directory, 'units', 'ab'),
  };
}

test('keeps an outcome in place that another build is linking', async (t) => {
  const { cache, directory } = await cacheOf(t);
  const first = await cache.keep(KEY, OUTCOME, OBJECT, MADE_OF);
  const { ino } = await stat(first.objectPath ?? '');
  const again = await Promise.all(Array.from({ length: 8 }, () => cache.keep(KEY, OUTCOME, OBJECT, MADE_OF)));
  assert.deepEqual(again, Array(8).fill(first));
  assert.equal((await stat(first.objectPath ?? '')).ino, ino);
  assert.deepEqual(await readdir(directory), [KEY]);
});

test('gives an outcome to many processes that store it at once', async (t) => {
  const { cache, directory } = await cacheOf(t);
  const kept = await Promise.all(Array.from({ length: 8 }, () => cache.keep(KEY, OUTCOME, OBJECT, MADE_OF)));
  for (const { objectPath = '' } of kept) assert.deepEqual(await readFile(objectPath), OBJECT);
  assert.deepEqual(await readdir(directory), [KEY]);
});

test('replaces a damaged outcome', async (t) => {
  const { cache, directory } = await cacheOf(t);
  await cache.keep(KEY, OUTCOME, OBJECT, MADE_OF);
  await writeFile(join(directory, KEY, 'outcome.json'), '{');
  assert.equal(await cache.find(KEY), undefined);
  await cache.keep(KEY, OUTCOME, OBJECT, MADE_OF);
  assert.deepEqual((await cache.find(KEY))?.outcome, OUTCOME);
  assert.deepEqual(await readdir(directory), [KEY]);
});

test('rebuilds an outcome when a file of the tree changed', async (t) => {
  const { cache, directory } = await cacheOf(t);
  t.after(() => {
    current = 'now';
  });
  await cache.keep(KEY, OUTCOME, OBJECT, MADE_OF);
  assert.ok((await cache.find(KEY)) !== undefined);
  current = 'later';
  assert.equal(await cache.find(KEY), undefined);
  const kept = await cache.keep(KEY, OUTCOME, Buffer.from('other'), { ...MADE_OF, digest: current });
  assert.equal(await readFile(kept.objectPath ?? '', 'utf8'), 'other');
  assert.deepEqual(await cache.find(KEY), kept);
  assert.deepEqual(await readdir(directory), [KEY]);
});
