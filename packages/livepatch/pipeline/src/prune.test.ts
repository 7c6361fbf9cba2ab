import assert from 'node:assert/strict';
import { link, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { exists, run, systemClock, withSharedUse } from '@kmend/base/node';
import { pruneCache } from './prune.ts';
import { removeKernel } from './remove-kernel.ts';
import { Workshop } from './workshop.ts';

const KEPT = 'a'.repeat(40);
const GONE = 'b'.repeat(40);
const DAYS = 24 * 3_600_000;

/** A cache with one kernel; `days` is how long ago each file was used. */
async function cacheWith(t: TestContext, files: Readonly<Record<string, number>>): Promise<string> {
  const cache = await mkdtemp(join(tmpdir(), 'kmend-prune-'));
  t.after(() => rm(cache, { recursive: true }));
  const kernel = {
    schema: 'kmend.kernel/1',
    release: '6.1.0-47-amd64',
    buildId: KEPT,
    version: '6.1.170-3',
    sourcePackage: 'linux-source-6.1',
    suite: 'bookworm',
    arch: 'x86_64',
    compiler: { text: 'none (a test) 1', command: 'no-such-compiler' },
  };
  const texts = { [`kernels/${KEPT}/kernel.json`]: JSON.stringify(kernel), [`trees/${KEPT}/prepared`]: `${KEPT}\n` };
  for (const path of [...Object.keys(texts), ...Object.keys(files)]) {
    await mkdir(dirname(join(cache, path)), { recursive: true });
    const text = texts[path] ?? (path.endsWith('/prepared') ? `${GONE}\n` : 'content');
    await writeFile(join(cache, path), text);
    const then = new Date(Date.now() - (files[path] ?? 0) * DAYS);
    await utimes(join(cache, path), then, then);
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder))
      await utimes(join(cache, folder), then, then);
  }
  return cache;
}

function workshopOf(cache: string, signal = new AbortController().signal): Workshop {
  const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
  return new Workshop(edges, { cache, home: join(cache, 'home') }, {});
}

const FILES = {
  [`trees/${GONE}/prepared`]: 0,
  [`trees/${KEPT}/.build-abc/x.o`]: 1,
  [`trees/${KEPT}/.build-def/x.o`]: 0,
  'trees/.prepare-abc/source/Makefile': 1,
  'roots/trixie-gcc-14-14.2.0-19-00000000/system/usr/bin/gcc': 0,
  'kernels/.6.1.0-48-amd64.tmp/vmlinux': 1,
  'packages/linux-image_1.deb': 40,
  'packages/linux-image_2.deb': 1,
  'objects/00/0011.o': 40,
  'objects/00/0022.o': 1,
  'sources/6.1.170-3.tar.zst': 400,
  'sources/6.1.10-1.tar.zst': 1,
  'lab/saved/0011/memory': 40,
  'lab/root-0.ext4': 1,
};

test('removes what no kernel of the store needs, what is left over and what is old, and nothing else', async (t) => {
  const cache = await cacheWith(t, FILES);
  const options = { unusedDays: 30, dryRun: false };
  const planned = await pruneCache(workshopOf(cache), { ...options, dryRun: true });
  for (const path of Object.keys(FILES)) assert.ok(await exists(join(cache, path)), path);
  const removed = await pruneCache(workshopOf(cache), options);
  assert.deepEqual(removed, planned);
  const left: string[] = [];
  for (const path of Object.keys(FILES)) if (await exists(join(cache, path))) left.push(path);
  assert.deepEqual(left, [
    `trees/${KEPT}/.build-def/x.o`,
    'packages/linux-image_2.deb',
    'objects/00/0022.o',
    'sources/6.1.170-3.tar.zst',
    'lab/root-0.ext4',
  ]);
  assert.ok(await exists(join(cache, 'kernels', KEPT, 'kernel.json')));
  assert.ok(await exists(join(cache, 'trees', KEPT, 'prepared')));
  assert.deepEqual(await pruneCache(workshopOf(cache), options), []);
});

test('removes an old scratch folder whose files are links to files in use', async (t) => {
  const cache = await cacheWith(t, { [`trees/${KEPT}/.build-abc/x.o`]: 1 });
  const scratch = join(cache, 'trees', KEPT, '.build-abc');
  await link(join(cache, 'trees', KEPT, 'prepared'), join(scratch, 'linked'));
  const then = new Date(Date.now() - DAYS);
  await utimes(scratch, then, then);
  const removed = await pruneCache(workshopOf(cache), { unusedDays: 30, dryRun: false });
  assert.deepEqual(
    removed.map(({ paths }) => paths),
    [[scratch]],
  );
  assert.ok(await exists(join(cache, 'trees', KEPT, 'prepared')));
});

test('waits for a command that uses the cache', async (t) => {
  const cache = await cacheWith(t, FILES);
  let isUsed = true;
  const using = withSharedUse(cache, async () => {
    await systemClock.sleep(400);
    assert.ok(await exists(join(cache, 'trees', GONE, 'prepared')));
    isUsed = false;
  });
  await systemClock.sleep(50);
  await pruneCache(workshopOf(cache), { unusedDays: 30, dryRun: false });
  assert.equal(isUsed, false);
  await using;
});

test('leaves nothing half-removed when it is interrupted, and goes on the next time', async (t) => {
  const cache = await cacheWith(t, FILES);
  const interrupt = new AbortController();
  const workshop = workshopOf(cache, interrupt.signal);
  const steps: string[] = [];
  const progress = {
    ...silentProgress,
    step: (text: string): void => {
      steps.push(text);
      if (text.startsWith('remove build root')) interrupt.abort();
    },
  };
  const edges = { ...workshop.edges, progress };
  const interrupted = new Workshop(edges, { cache, home: join(cache, 'home') }, {});
  await assert.rejects(pruneCache(interrupted, { unusedDays: 30, dryRun: false }), /abort/i);
  assert.ok(!(await exists(join(cache, 'trees', GONE))));
  assert.ok(await exists(join(cache, 'roots/trixie-gcc-14-14.2.0-19-00000000/system/usr/bin/gcc')));
  assert.deepEqual(
    (await readdir(cache)).filter((name) => /^\.(?:pruned|alone)/.test(name)),
    [],
  );
  await pruneCache(workshopOf(cache), { unusedDays: 30, dryRun: false });
  assert.deepEqual(await readdir(join(cache, 'roots')), []);
});

test('removes a kernel by release or build id with its tree, and nothing else', async (t) => {
  for (const name of ['6.1.0-47-amd64', KEPT.slice(0, 8)]) {
    const cache = await cacheWith(t, FILES);
    const removed = await removeKernel(workshopOf(cache), name);
    assert.match(removed.what, /^6\.1\.0-47-amd64 \(build id a{40}\)$/);
    assert.ok(removed.bytes > 0);
    for (const gone of [`kernels/${KEPT}`, `trees/${KEPT}`]) assert.equal(await exists(join(cache, gone)), false, gone);
    for (const path of Object.keys(FILES)) {
      if (!path.startsWith(`trees/${KEPT}/`)) assert.ok(await exists(join(cache, path)), path);
    }
    assert.deepEqual(
      (await readdir(cache)).filter((entry) => entry.startsWith('.pruned-')),
      [],
    );
  }
});

test('removes no kernel that the store does not have, and says so', async (t) => {
  const cache = await cacheWith(t, FILES);
  await assert.rejects(removeKernel(workshopOf(cache), '6.1.0-48-amd64'), { code: 'kernel-not-added' });
  assert.ok(await exists(join(cache, 'kernels', KEPT)));
});
