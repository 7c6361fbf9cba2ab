import assert from 'node:assert/strict';
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type KmendError, silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { moduleFiles } from '../modules.ts';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { sampleSymbols } from '../testing/kallsyms.ts';
import {
  BUILD_ID,
  type DebianLayout,
  type MadeUpKernel,
  PackageFolder,
  SOUND_CONFIG,
  soundVmlinuz,
} from '../testing/packages.ts';
import { KernelStore } from './store.ts';
import { readSymbols } from './symbols.ts';

const OTHER_BUILD_ID = 'fedcba9876543210fedcba9876543210fedcba98';
const RELEASE = '6.1.0-99-amd64';
const VERSION = '6.1.199-1';
const edges = { run, progress: silentProgress, signal: new AbortController().signal };

interface World {
  readonly store: KernelStore;
  readonly archive: PackageFolder;
  readonly cache: string;
  /** What is in the store's folder, hidden names included. */
  names(): Promise<string[]>;
}

async function worldWith(t: TestContext, ...kernels: readonly Partial<MadeUpKernel>[]): Promise<World> {
  const directory = await folder(t);
  const archive = new PackageFolder(directory);
  const cache = join(directory, 'cache');
  for (const kernel of kernels) {
    const whole = { release: RELEASE, version: VERSION, ...kernel };
    await archive.addKernel(whole);
    await archive.addSource(whole.version, { Makefile: 'VERSION = 6\n' });
  }
  const names = (): Promise<string[]> => readdir(join(cache, 'kernels')).catch(() => []);
  return { store: new KernelStore(edges, archive, cache), archive, cache, names };
}

const layouts: readonly (readonly [DebianLayout, release: string, version: string])[] = [
  [12, '6.1.0-99-amd64', '6.1.199-1'],
  [13, '6.12.199+deb13-amd64', '6.12.199-1'],
  [14, '7.2.99+deb14-amd64', '7.2.99-1'],
];

for (const [layout, release, version] of layouts) {
  test(`adds a kernel packed as in Debian ${layout} with every path, symbols and build id`, async (t) => {
    const { store, archive, names } = await worldWith(t, { release, version, layout });
    const kernel = await store.add(`some-suite/${release}`);
    assert.equal(kernel.buildId, BUILD_ID);
    assert.deepEqual(kernel.compiler, { text: 'gcc-12 (Debian 12.2.0-14) 12.2.0', command: 'gcc-12' });
    for (const path of Object.values(kernel.paths)) await access(path);
    for (const path of (await moduleFiles(kernel)).values()) assert.equal(await readFile(path, 'utf8'), 'a module');
    assert.deepEqual((await readSymbols(kernel)).all(), sampleSymbols(false));
    assert.deepEqual(await names(), [BUILD_ID]);
    const fetched = archive.fetched.length;
    assert.deepEqual(await store.add(`some-suite/${release}`), kernel);
    assert.equal(archive.fetched.length, fetched);
  });
}

test('fetches a kernel that left its suite from the snapshot archive, in its newest version', async (t) => {
  const { store, archive } = await worldWith(t, { release: RELEASE });
  archive.past.push({ name: `linux-image-${RELEASE}`, version: VERSION });
  assert.equal((await store.add(`some-suite/${RELEASE}`)).version, VERSION);
});

const unfit: readonly (readonly [code: string, kernel: Partial<MadeUpKernel>])[] = [
  [
    'kernel-without-livepatch',
    { config: 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian) 12"\n# CONFIG_LIVEPATCH is not set\n' },
  ],
  ['kernel-compiler', { config: SOUND_CONFIG.replace('gcc-12', 'clang') }],
  ['kernel-incomplete', { config: null }],
  ['kernel-incomplete', { modules: false }],
  ['image-unsupported', { vmlinuz: Buffer.from('not a kernel') }],
  ['image-unsupported', { vmlinuz: soundVmlinuz('') }],
  ['image-unsupported', { vmlinuz: soundVmlinuz('aabbccdd') }],
];

for (const [index, [code, kernel]] of unfit.entries()) {
  test(`refuses an unsuitable kernel (${index + 1}) with ${code}, and leaves nothing behind`, async (t) => {
    const { store, names } = await worldWith(t, kernel);
    await assert.rejects(store.add(`bookworm/${RELEASE}`), hasCode(code));
    assert.deepEqual(await names(), []);
    assert.deepEqual(await store.list(), []);
  });
}

test('leaves no half kernel when interrupted at any step, and succeeds in the next run', async (t) => {
  const { archive, cache, names } = await worldWith(t, {});
  const steps: string[] = [];
  const counting = { ...silentProgress, step: (text: string) => steps.push(text) };
  for (let stopAt = 0; ; stopAt++) {
    const stop = new AbortController();
    steps.length = 0;
    const step = (text: string): void => {
      counting.step(text);
      if (steps.length === stopAt + 1) stop.abort();
    };
    const progress = { ...silentProgress, step };
    const store = new KernelStore({ run, progress, signal: stop.signal }, archive, cache);
    const failed = await store.add(`bookworm/${RELEASE}`).then(
      () => false,
      () => true,
    );
    if (!failed) break;
    assert.deepEqual(await names(), [], `stopped at "${steps.at(-1)}"`);
  }
  assert.ok(steps.length >= 4, steps.join());
  assert.deepEqual(await names(), [BUILD_ID]);
});

test('removes what a killed run left', async (t) => {
  const { store, cache, names } = await worldWith(t, {});
  for (const name of [`.${RELEASE}.tmp`, RELEASE, BUILD_ID]) {
    await mkdir(join(cache, 'kernels', name, 'image'), { recursive: true });
    await writeFile(join(cache, 'kernels', name, 'vmlinux'), 'half');
  }
  await writeFile(join(cache, 'kernels', `.${RELEASE}.lock`), '4194305 gone 1\n');
  assert.deepEqual(await store.list(), []);
  await store.add(`bookworm/${RELEASE}`);
  assert.deepEqual(await names(), [BUILD_ID]);
});

test('adds a kernel once for two callers at the same time', async (t) => {
  const { store, archive } = await worldWith(t, {});
  const [one, other] = await Promise.all([store.add(`bookworm/${RELEASE}`), store.add(`bookworm/${RELEASE}`)]);
  assert.deepEqual(one, other);
  assert.equal(archive.fetched.filter((name) => name === `linux-image-${RELEASE}`).length, 1);
});

test('finds a kernel by release and by build id, and hints at near names and other suites', async (t) => {
  const { store } = await worldWith(t, {});
  const kernel = await store.add(`bookworm/${RELEASE}`);
  assert.deepEqual(await store.open(RELEASE), kernel);
  assert.deepEqual(await store.open(BUILD_ID.slice(0, 8)), kernel);
  assert.deepEqual(await store.open(BUILD_ID), kernel);
  const hintOf = async (name: string): Promise<string> =>
    await store.open(name).then(
      () => assert.fail(`${name} was opened`),
      (error: KmendError) => {
        assert.equal(error.code, 'kernel-not-added');
        return error.hint ?? '';
      },
    );
  assert.match(await hintOf('6.1.0-98-amd64'), /did you mean 6\.1\.0-99-amd64/);
  assert.match(await hintOf('7.2.13+deb14-cloud-amd64'), /add it first/);
  assert.match(await hintOf(BUILD_ID.slice(0, 7)), /kernel list/);
  assert.match(await hintOf('ffffffffffff'), /kernel list/);
  assert.match(await hintOf('../../etc'), /kernel list/);
  // The same build of another suite is the same kernel.
  assert.deepEqual(await store.add(`trixie/${RELEASE}`), kernel);
});

test('refuses a kernel that the suite does not have, and a name of no kernel', async (t) => {
  const { store, archive } = await worldWith(t, {});
  await archive.add(`linux-image-${RELEASE}-dbg`, VERSION, {});
  await assert.rejects(store.add('bookworm/6.1.0-98-amd64'), (error: KmendError) => {
    assert.equal(error.code, 'kernel-unknown');
    assert.match(error.hint ?? '', /6\.1\.0-99-amd64/);
    return true;
  });
  await assert.rejects(store.add(`bookworm/${RELEASE}-dbg`), hasCode('kernel-unknown'));
  for (const spec of [
    '',
    'bookworm',
    RELEASE,
    `bookworm/../${RELEASE}`,
    'bookworm/x',
    `Bookworm/${RELEASE}`,
    'a/1.2/3',
  ]) {
    await assert.rejects(store.add(spec), hasCode('kernel-spec'), spec);
  }
  assert.deepEqual(archive.fetched, []);
});

test('fetches nothing of a kernel without its headers', async (t) => {
  const { store, archive } = await worldWith(t);
  await archive.add(`linux-image-${RELEASE}`, VERSION, {});
  await assert.rejects(store.add(`bookworm/${RELEASE}`), hasCode('package-unknown'));
  assert.deepEqual(archive.fetched, []);
});

test('names the folder to remove for a damaged record, and still lists other kernels', async (t) => {
  const damaged = { release: '6.1.0-98-amd64', version: '6.1.198-1', vmlinuz: soundVmlinuz(OTHER_BUILD_ID) };
  const { store, cache } = await worldWith(t, {}, damaged);
  const sound = await store.add(`bookworm/${RELEASE}`);
  const other = await store.add('bookworm/6.1.0-98-amd64');
  const path = join(other.paths.directory, 'kernel.json');
  const text = await readFile(path, 'utf8');
  for (const damage of [
    '',
    '{',
    'null',
    '[]',
    text.replace('kmend.kernel/1', 'kmend.kernel/9'),
    text.replace(OTHER_BUILD_ID, 'zz'),
  ]) {
    await writeFile(path, damage);
    await assert.rejects(store.open('6.1.0-98-amd64'), (error: KmendError) => {
      assert.equal(error.code, 'kernel-record');
      assert.ok(error.hint?.includes(join(cache, 'kernels', OTHER_BUILD_ID)));
      return true;
    });
    await assert.rejects(store.list(), hasCode('kernel-record'));
    assert.deepEqual(await store.open(RELEASE), sound);
  }
});

test('reports a damaged list of symbols', async (t) => {
  const { store } = await worldWith(t, {});
  const kernel = await store.add(`bookworm/${RELEASE}`);
  const path = join(kernel.paths.directory, 'kallsyms');
  const text = await readFile(path, 'latin1');
  for (const damage of ['', text.slice(0, 1000), `${text}garbage\n`, `T zz name\n${text}`]) {
    await writeFile(path, damage, 'latin1');
    await assert.rejects(readSymbols(kernel), hasCode('kernel-record'));
  }
});

test('leaves nothing of a kernel of one’s own that lacks a part, and names what is missing', async (t) => {
  const { store, cache, names } = await worldWith(t);
  const fail = async (): Promise<void> => assert.fail('nothing to prove');
  const work = { findCompiler: fail, prove: fail };
  const nowhere = { from: [join(cache, 'nowhere')], source: cache };
  await assert.rejects(store.addLocal(nowhere, work), { code: 'kernel-incomplete', message: /neither a folder/ });
  await mkdir(join(cache, 'empty'));
  const empty = { from: [join(cache, 'empty')], source: cache };
  const wanted = { code: 'kernel-incomplete', message: /lacks vmlinuz or vmlinux, config, Module.symvers, modules/ };
  await assert.rejects(store.addLocal(empty, work), wanted);
  assert.deepEqual(await names(), []);
});
