import assert from 'node:assert/strict';
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { SourceStore, sourcePackageOf, titleOf } from './source.ts';
import { hasCode } from './testing/errors.ts';
import { folder } from './testing/folder.ts';
import { PackageFolder } from './testing/packages.ts';

const VERSION = '6.1.199-1';
const CHANGELOG = `linux (6.1.199-1) bookworm; urgency=medium

  * New upstream stable update:
    - [x86] perf/x86/amd/lbr: Fix kernel address leakage (CVE-2026-80602)
    - smb: client: fix OOB read/write from unvalidated DataOffset in
      coalesce_t2() (CVE-2026-89633)
    - foo: check array[3] before use (CVE-2026-52999, CVE-2026-52998)
    - bar: the short number (CVE-2026-5299)
  * ext4: fix a thing of Debian's own (CVE-2026-11111)
`;

interface World {
  readonly archive: PackageFolder;
  readonly sources: SourceStore;
  readonly steps: string[];
  readonly directory: string;
}

async function world(t: TestContext): Promise<World> {
  const base = await folder(t);
  const archive = new PackageFolder(base);
  const tree = { 'net/ipv4/a.c': 'int a;\n', 'net/ipv4/b.c': 'int b;\n', 'crypto/c.c': 'int c;\n' };
  await archive.addSource(VERSION, tree, CHANGELOG);
  const steps: string[] = [];
  const progress = { ...silentProgress, step: (text: string) => void steps.push(text) };
  const cache = join(base, 'cache');
  const sources = new SourceStore({ run, progress, signal: new AbortController().signal }, archive, cache);
  return { archive, sources, steps, directory: join(cache, 'sources') };
}

test('repacks the source of a version once, and reads later files from that', async (t) => {
  const { archive, sources, steps, directory } = await world(t);
  const tree = await sources.files('bookworm', VERSION, ['net/ipv4/a.c']);
  assert.equal(await readFile(join(tree, 'net/ipv4/a.c'), 'utf8'), 'int a;\n');
  await assert.rejects(access(join(tree, 'net/ipv4/b.c')));
  await sources.files('bookworm', VERSION, ['net/ipv4/a.c', 'net/ipv4/b.c', 'crypto/c.c']);
  assert.equal(await readFile(join(tree, 'crypto/c.c'), 'utf8'), 'int c;\n');
  assert.equal(steps.filter((step) => step.startsWith('repack')).length, 1);
  assert.deepEqual(archive.fetched, ['linux-source-6.1']);
  assert.deepEqual((await readdir(directory)).sort(), [VERSION, `${VERSION}.tar.zst`]);
});

test('repacks once for callers at the same time, and gives all their files', async (t) => {
  const { sources, steps } = await world(t);
  const paths = ['net/ipv4/a.c', 'net/ipv4/b.c', 'crypto/c.c'];
  const trees = await Promise.all(paths.map((path) => sources.files('bookworm', VERSION, [path])));
  for (const [index, path] of paths.entries()) await access(join(trees[index] ?? '', path));
  assert.equal(steps.filter((step) => step.startsWith('repack')).length, 1);
});

test('reports a path that the version does not have as missing beside others', async (t) => {
  const { sources } = await world(t);
  const tree = await sources.files('bookworm', VERSION, ['net/ipv4/none.c', 'crypto/c.c', 'net']);
  await access(join(tree, 'crypto/c.c'));
  await assert.rejects(access(join(tree, 'net/ipv4/none.c')));
  await assert.rejects(access(join(tree, 'net')), 'a folder is not a file: half of one would pass for the whole');
});

test('refuses paths that lead out of the tree', async (t) => {
  const { sources, archive } = await world(t);
  for (const path of ['../x', 'net/../../x', '/etc/passwd', '', 'net//a.c', './a.c', 'a\\b.c', 'a\nb.c', 'net/']) {
    await assert.rejects(sources.files('bookworm', VERSION, [path]), hasCode('source-path'), path);
  }
  assert.deepEqual(archive.fetched, []);
});

test('reports a damaged repacked source as an error, not as a missing file, and makes it again', async (t) => {
  const { sources, directory } = await world(t);
  await sources.files('bookworm', VERSION, ['net/ipv4/a.c']);
  const tarball = join(directory, `${VERSION}.tar.zst`);
  const whole = await readFile(tarball);
  for (const damaged of [whole.subarray(0, 60), Buffer.alloc(0), Buffer.from('garbage')]) {
    await writeFile(tarball, damaged);
    await assert.rejects(sources.files('bookworm', VERSION, ['crypto/c.c']), hasCode('package-damaged'));
  }
  const tree = await sources.files('bookworm', VERSION, ['crypto/c.c']);
  await access(join(tree, 'crypto/c.c'));
});

test('leaves nothing incomplete after an interrupt or a killed run', async (t) => {
  const { archive, directory } = await world(t);
  await mkdir(join(directory, `.${VERSION}.tmp`), { recursive: true });
  const stop = new AbortController();
  const progress = { ...silentProgress, step: () => stop.abort() };
  const sources = new SourceStore({ run, progress, signal: stop.signal }, archive, join(directory, '..'));
  await assert.rejects(sources.files('bookworm', VERSION, ['crypto/c.c']), hasCode('interrupted'));
  assert.deepEqual(await readdir(directory), []);
});

test('reads the changelog once', async (t) => {
  const { archive, sources } = await world(t);
  assert.equal(await sources.changelog('bookworm', VERSION), CHANGELOG);
  assert.equal(await sources.changelog('bookworm', VERSION), CHANGELOG);
  assert.equal(archive.fetched.length, 1);
});

test('finds titles of fixes by their CVE', () => {
  for (const [cve, title] of Object.entries({
    'CVE-2026-80602': 'perf/x86/amd/lbr: Fix kernel address leakage',
    'CVE-2026-89633': 'smb: client: fix OOB read/write from unvalidated DataOffset in coalesce_t2()',
    'CVE-2026-52999': 'foo: check array[3] before use',
    'CVE-2026-52998': 'foo: check array[3] before use',
    'CVE-2026-5299': 'bar: the short number',
    'CVE-2026-11111': "ext4: fix a thing of Debian's own",
    'CVE-2026-1111': undefined,
    'CVE-2026-99999': undefined,
    'not-a-cve': undefined,
    '.*': undefined,
  })) {
    assert.equal(titleOf(CHANGELOG, cve), title, cve);
  }
});

test('finds the source package of a version', () => {
  assert.equal(sourcePackageOf('6.1.170-3'), 'linux-source-6.1');
  assert.equal(sourcePackageOf('6.12.117-1~deb12u1'), 'linux-source-6.12');
  for (const version of ['', 'x', '6', '6.1/..', '6.1 -3', '../6.1']) {
    assert.throws(() => sourcePackageOf(version), hasCode('kernel-spec'), version);
  }
});
