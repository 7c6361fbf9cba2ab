import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Run, silentProgress } from '@kmend/base';
import { BuildRoots, rootOfDigest } from './build-roots.ts';
import { installedPackages } from './record.ts';
import { debianCompiler, type WantedRoot } from './wanted.ts';

const WANTED: WantedRoot = { suite: 'trixie', compiler: { name: 'gcc-14', version: '14.2.0-19' } };
const STATUS = `Package: gcc-14
Status: install ok installed
Version: 14.2.0-19

Package: removed
Status: deinstall ok config-files
Version: 1
`;

/** Installs a system of two files in place of mmdebstrap(1) and tar(1), and counts how often. */
class Installer {
  installed = 0;
  /** What it ends with instead: its exit code and its words. */
  fails: string | undefined;

  readonly run: Run = async (file, args) => {
    const ok = { exitCode: 0, stdout: Buffer.alloc(0), stderr: '' };
    if (file !== 'bash') return ok;
    const into = args.find((word) => word.endsWith('/system')) ?? '';
    await write(into, 'usr/bin/gcc-14', 'half of it');
    if (this.fails !== undefined) return { ...ok, exitCode: 1, stderr: this.fails };
    await write(into, 'usr/bin/gcc-14', 'a compiler');
    await write(into, 'var/lib/dpkg/status', STATUS);
    this.installed++;
    return ok;
  };
}

async function write(into: string, name: string, text: string): Promise<void> {
  await mkdir(dirname(join(into, name)), { recursive: true });
  await writeFile(join(into, name), text);
}

async function setting(t: TestContext): Promise<{ cache: string; installer: Installer; roots: BuildRoots }> {
  const cache = await mkdtemp(join(tmpdir(), 'kmend-roots-'));
  t.after(() => rm(cache, { recursive: true }));
  const installer = new Installer();
  const edges = { run: installer.run, progress: silentProgress, signal: new AbortController().signal };
  return { cache, installer, roots: new BuildRoots(edges, cache) };
}

test('makes a root once, also for concurrent callers, and lists its packages', async (t) => {
  const { cache, installer, roots } = await setting(t);
  assert.equal(await roots.find(WANTED), undefined);
  const [first, second] = await Promise.all([roots.prepare(WANTED), roots.prepare(WANTED)]);
  assert.deepEqual(first, second);
  assert.equal(installer.installed, 1);
  assert.deepEqual(first.contents?.packages, { 'gcc-14': '14.2.0-19' });
  assert.deepEqual(await roots.find(WANTED), first);
  assert.deepEqual(await rootOfDigest(cache, first.contents?.digest ?? ''), first);
  assert.equal(await rootOfDigest(cache, '0'.repeat(64)), undefined);
});

test('makes another root for another revision of the compiler', async (t) => {
  const { installer, roots } = await setting(t);
  const before = await roots.prepare(WANTED);
  const after = await roots.prepare({ ...WANTED, compiler: { name: 'gcc-14', version: '14.2.0-20' } });
  assert.notEqual(before.directory, after.directory);
  assert.equal(installer.installed, 2);
});

const damages: Readonly<Record<string, (directory: string) => Promise<void>>> = {
  'without its record': (directory) => rm(join(directory, '..', 'root.json')),
  'with a record of nothing': (directory) => writeFile(join(directory, '..', 'root.json'), ''),
  'that lacks a file': (directory) => rm(join(directory, 'usr', 'bin', 'gcc-14')),
  'with a file cut short': (directory) => writeFile(join(directory, 'usr', 'bin', 'gcc-14'), 'a comp'),
};

for (const [what, damage] of Object.entries(damages)) {
  test(`shows a root ${what} as damaged, and makes it again`, async (t) => {
    const { installer, roots } = await setting(t);
    const made = await roots.prepare(WANTED);
    assert.deepEqual(
      (await roots.list()).map(({ isDamaged }) => isDamaged),
      [false],
    );
    await damage(made.directory);
    assert.deepEqual(
      (await roots.list()).map(({ isDamaged }) => isDamaged),
      [true],
    );
    assert.deepEqual(await roots.prepare(WANTED), made);
    assert.equal(installer.installed, 2);
    assert.deepEqual(
      (await roots.list()).map(({ isDamaged }) => isDamaged),
      [false],
    );
  });
}

test('ignores what a killed run left, and removes it when it makes the root', async (t) => {
  const { cache, roots } = await setting(t);
  const { directory } = await roots.prepare(WANTED);
  const name = dirname(directory).split('/').at(-1) ?? '';
  await rm(dirname(directory), { recursive: true });
  await write(join(cache, 'roots', `.${name}.tmp`), 'system/usr/bin/left', 'over');
  assert.deepEqual(await roots.list(), []);
  await roots.prepare(WANTED);
  assert.deepEqual(await readdir(join(cache, 'roots')), [name]);
});

test('reports a compiler revision that the archive lacks by its own code, and leaves nothing behind', async (t) => {
  const { cache, installer, roots } = await setting(t);
  for (const [said, code] of [
    ["E: Version '14.2.0-19' for 'gcc-14' was not found\nE: setup failed", 'compiler-unavailable'],
    ['E: Unable to locate package gcc-14', 'compiler-unavailable'],
    ['E: The repository is not signed.', 'root-failed'],
  ] as const) {
    installer.fails = said;
    await assert.rejects(roots.prepare(WANTED), { code });
    assert.deepEqual(await readdir(join(cache, 'roots')), []);
  }
});

test('reads the installed packages from dpkg’s list', () => {
  assert.deepEqual(installedPackages(STATUS), { 'gcc-14': '14.2.0-19' });
});

test('reads the package of a compiler from its version text', () => {
  const gcc14 = { name: 'gcc-14', version: '14.2.0-19' };
  assert.deepEqual(debianCompiler('x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0'), gcc14);
  assert.deepEqual(debianCompiler('gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'), {
    name: 'gcc-12',
    version: '12.2.0-14+deb12u1',
  });
  for (const text of ['gcc (GCC) 14.2.1 20250110', 'gcc-14 (Ubuntu 14.2.0-4ubuntu2) 14.2.0', 'clang version 19.1.7'])
    assert.equal(debianCompiler(text), undefined);
});
