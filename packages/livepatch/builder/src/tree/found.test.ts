import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Kernel } from '@kmend/kernel';
import { findTree } from './prepare.ts';

const release = '6.1.0-99-amd64';
const kernelOf = (buildId: string): Kernel => ({ release, buildId }) as Kernel;
const DEBIAN = kernelOf('ab'.repeat(20));
const OWN = kernelOf('cd'.repeat(20));

async function cacheWith(t: TestContext, trees: Readonly<Record<string, string>>): Promise<string> {
  const cache = await mkdtemp(join(tmpdir(), 'kmend-trees-'));
  t.after(() => rm(cache, { recursive: true }));
  for (const [name, prepared] of Object.entries(trees)) {
    await mkdir(join(cache, 'trees', name), { recursive: true });
    if (prepared !== '') await writeFile(join(cache, 'trees', name, 'prepared'), `${prepared}\n`);
  }
  return cache;
}

test('keeps separate trees for two kernels of one release', async (t) => {
  const cache = await cacheWith(t, { [DEBIAN.buildId]: DEBIAN.buildId, [OWN.buildId]: OWN.buildId });
  for (const kernel of [DEBIAN, OWN])
    assert.equal((await findTree(cache, kernel))?.source, join(cache, 'trees', kernel.buildId, 'source'));
});

test('uses a tree that an earlier version prepared under the release, for its own build alone', async (t) => {
  const cache = await cacheWith(t, { [release]: DEBIAN.buildId });
  assert.equal((await findTree(cache, DEBIAN))?.directory, join(cache, 'trees', release));
  assert.equal(await findTree(cache, OWN), undefined);
});

test('ignores a tree that was not prepared to its end', async (t) => {
  const cache = await cacheWith(t, { [release]: '', [DEBIAN.buildId]: '' });
  assert.equal(await findTree(cache, DEBIAN), undefined);
});
