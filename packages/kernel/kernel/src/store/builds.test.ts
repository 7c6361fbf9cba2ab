import assert from 'node:assert/strict';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { BUILD_ID, PackageFolder, soundVmlinuz } from '../testing/packages.ts';
import { ImageStore } from './images.ts';
import { KernelStore } from './store.ts';

/** Two kernels of one's own that call themselves the same. */
const RELEASE = '6.1.0-99-amd64';
const OWN = 'fedcba9876543210fedcba9876543210fedcba98';
const edges = { run, progress: silentProgress, signal: new AbortController().signal };

async function twoBuilds(t: TestContext) {
  const directory = await folder(t);
  const archive = new PackageFolder(directory);
  await archive.addKernel({ release: RELEASE, version: '6.1.199-1' });
  await archive.addKernel({ release: RELEASE, version: '6.1.199-1own1', vmlinuz: soundVmlinuz(OWN) });
  for (const version of ['6.1.199-1', '6.1.199-1own1']) await archive.addSource(version, { Makefile: 'VERSION = 6\n' });
  const cache = join(directory, 'cache');
  const store = new KernelStore(edges, archive, cache);
  return { archive, cache, store, images: new ImageStore(edges, archive, store, cache) };
}

test('keeps two builds of one release as two kernels, each with files of its own', async (t) => {
  const { store, cache } = await twoBuilds(t);
  const own = await store.add(`bookworm/${RELEASE}=6.1.199-1own1`);
  const debian = await store.add(`bookworm/${RELEASE}=6.1.199-1`);
  assert.deepEqual([debian.buildId, own.buildId], [BUILD_ID, OWN]);
  assert.notEqual(debian.paths.vmlinux, own.paths.vmlinux);
  assert.deepEqual(await store.list(), [debian, own]);
  assert.deepEqual((await readdir(join(cache, 'kernels'))).sort(), [BUILD_ID, OWN]);
  for (const kernel of [debian, own]) assert.deepEqual(await store.open(kernel.buildId.slice(0, 12)), kernel);
  await assert.rejects(store.open(RELEASE), hasCode('kernel-ambiguous'));
  assert.deepEqual(await store.add(`bookworm/${RELEASE}=6.1.199-1own1`), own);
});

test('finds a kernel that an earlier version of kmend added under its release, beside another build', async (t) => {
  const { store, cache, archive } = await twoBuilds(t);
  const { buildId } = await store.add(`bookworm/${RELEASE}=6.1.199-1`);
  await rename(join(cache, 'kernels', buildId), join(cache, 'kernels', RELEASE));
  const fetched = archive.fetched.length;
  const old = await store.add(`bookworm/${RELEASE}`);
  assert.equal(old.paths.directory, join(cache, 'kernels', RELEASE));
  assert.deepEqual([await store.open(RELEASE), await store.open(buildId)], [old, old]);
  assert.equal(archive.fetched.length, fetched);
  const own = await store.add(`bookworm/${RELEASE}=6.1.199-1own1`);
  assert.deepEqual(await store.list(), [old, own]);
});

test('refuses a build id that another release has already', async (t) => {
  const { store, archive } = await twoBuilds(t);
  await archive.addKernel({ release: '6.1.0-98-amd64', version: '6.1.199-1' });
  await store.add(`bookworm/${RELEASE}=6.1.199-1`);
  await assert.rejects(store.add('bookworm/6.1.0-98-amd64'), hasCode('image-unsupported'));
});

test('does not mix up two builds of one fixed kernel', async (t) => {
  const { store, images } = await twoBuilds(t);
  await images.add(`bookworm/${RELEASE}`);
  const [first] = await images.list();
  assert.equal((await images.find(RELEASE, RELEASE))?.buildId, first?.buildId);
  const other = await store.add(`bookworm/${RELEASE}=${first?.buildId === OWN ? '6.1.199-1' : '6.1.199-1own1'}`);
  await assert.rejects(images.find(RELEASE, RELEASE), hasCode('kernel-ambiguous'));
  assert.equal((await images.find(other.buildId, RELEASE))?.buildId, other.buildId);
});
