import assert from 'node:assert/strict';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { moduleFiles } from '../modules.ts';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { BUILD_ID, type MadeUpKernel, PackageFolder, soundVmlinuz } from '../testing/packages.ts';
import { ImageStore } from './images.ts';
import { KernelStore } from './store.ts';
import { readSymbols } from './symbols.ts';

const edges = { run, progress: silentProgress, signal: new AbortController().signal };
const FIXED: MadeUpKernel = { release: '6.1.0-99-amd64', version: '6.1.199-1' };
const CLOUD_ID = 'fedcba9876543210fedcba9876543210fedcba98';
const CLOUD: MadeUpKernel = {
  release: '6.1.0-99-cloud-amd64',
  version: '6.1.199-1',
  vmlinuz: soundVmlinuz(CLOUD_ID),
};

async function world(t: TestContext, ...made: readonly MadeUpKernel[]) {
  const directory = await folder(t);
  const archive = new PackageFolder(directory);
  for (const kernel of made) await archive.addKernel(kernel);
  const cache = join(directory, 'cache');
  const kernels = new KernelStore(edges, archive, cache);
  return { archive, cache, kernels, images: new ImageStore(edges, archive, kernels, cache) };
}

test('fetches an image without headers and source, with readable symbols and modules', async (t) => {
  const { archive, images } = await world(t, FIXED);
  const image = await images.add('some-suite/6.1.0-99-amd64');
  assert.deepEqual(archive.fetched, ['linux-image-6.1.0-99-amd64']);
  assert.deepEqual([image.release, image.version, image.buildId], [FIXED.release, FIXED.version, BUILD_ID]);
  await access(image.paths.vmlinux);
  assert.ok((await readSymbols(image)).size > 0);
  for (const path of (await moduleFiles(image)).values()) await access(path);
});

test('fetches all parts of an image in parts', async (t) => {
  const release = '7.2.99+deb14-amd64';
  const { archive, images } = await world(t, { release, version: '7.2.99-1', layout: 14 });
  await access((await images.add(`some-suite/${release}`)).paths.vmlinux);
  assert.deepEqual(
    archive.fetched,
    ['image', 'base', 'binary', 'modules'].map((part) => `linux-${part}-${release}`),
  );
});

test('finds the image of a version, of the flavour behind it', async (t) => {
  const { images } = await world(t, FIXED, CLOUD, { release: '6.1.0-98-amd64', version: '6.1.198-1' });
  assert.equal((await images.add('some-suite/6.1.199-1')).release, FIXED.release);
  assert.equal((await images.add('some-suite/6.1.199-1/cloud-amd64')).release, CLOUD.release);
  await assert.rejects(images.add('some-suite/6.1.200-1'), hasCode('kernel-unknown'));
  await assert.rejects(images.add('6.1.199-1'), hasCode('kernel-spec'));
});

test('finds an image by version or release, only of the requested flavour', async (t) => {
  const { images } = await world(t, FIXED, CLOUD);
  await images.add(`some-suite/${FIXED.release}`);
  assert.equal((await images.find('6.1.199-1', '6.1.0-47-amd64'))?.release, FIXED.release);
  assert.equal((await images.find(FIXED.release, '6.1.0-47-amd64'))?.release, FIXED.release);
  assert.equal(await images.find('6.1.199-1', '6.1.0-47-cloud-amd64'), undefined);
  assert.equal(await images.find('6.1.200-1', '6.1.0-47-amd64'), undefined);
});

test('uses a kernel of the store as an image, but not an image as a kernel to build for', async (t) => {
  const { archive, kernels, images, cache } = await world(t, FIXED, CLOUD);
  await archive.addSource(FIXED.version, { Makefile: 'VERSION = 6\n' });
  await kernels.add(`some-suite/${FIXED.release}`);
  assert.equal((await images.find(FIXED.version, '6.1.0-47-amd64'))?.release, FIXED.release);
  assert.deepEqual(await images.list(), []);
  await images.add(`some-suite/${CLOUD.release}`);
  assert.deepEqual(
    (await images.list()).map(({ release }) => release),
    [CLOUD.release],
  );
  await assert.rejects(kernels.open(CLOUD.release), hasCode('kernel-not-added'));
  assert.deepEqual(
    (await readdir(join(cache, 'images'))).filter((name) => !name.endsWith('.lock')),
    [CLOUD_ID],
  );
});
