import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run, runOk, sha256File } from '@kmend/base/node';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { PackageFolder } from '../testing/packages.ts';
import { packRealTime, seriesOf } from './real-time.ts';

const VERSION = '6.12.199-1';
const edges = { run, progress: silentProgress, signal: new AbortController().signal };

const patch = (from: string, to: string): string =>
  `--- a/kernel/lock.c\n+++ b/kernel/lock.c\n@@ -1 +1 @@\n-${from}\n+${to}\n`;

/** Packs a source of one file with such patches. */
async function packed(t: TestContext, patches: Readonly<Record<string, string>>) {
  const base = await folder(t);
  const archive = new PackageFolder(base);
  await archive.addSource(VERSION, { 'kernel/lock.c': 'int spins;\n' }, '');
  await archive.addPatches(VERSION, patches);
  const deb = await archive.find('', 'linux-source-6.12', VERSION);
  await runOk(run, 'dpkg-deb', ['-x', deb.url, join(base, 'unpacked')]);
  const source = join(base, 'unpacked', 'usr', 'src', 'linux-source-6.12.tar.xz');
  const files = await archive.debianFiles('', VERSION);
  const target = join(base, 'out', 'source.tar.zst');
  await runOk(run, 'mkdir', [join(base, 'out')]);
  await packRealTime(edges, { source, patches: files.url }, VERSION, target);
  return target;
}

test('applies the real-time patches in the order of their series', async (t) => {
  const patches = {
    'z-first.patch': patch('int spins;', 'int waits;'),
    'a-second.patch': patch('int waits;', 'int sleeps;'),
  };
  const target = await packed(t, patches);
  const text = await runOk(run, 'tar', ['-xOf', target, 'tree/kernel/lock.c']);
  assert.equal(text.toString('utf8'), 'int sleeps;\n');
  assert.deepEqual(await readdir(join(target, '..')), ['source.tar.zst']);
});

test('packs the same source into the same bytes', async (t) => {
  const patches = { 'one.patch': patch('int spins;', 'int waits;') };
  assert.equal(await sha256File(await packed(t, patches)), await sha256File(await packed(t, patches)));
});

test('refuses patches that do not apply, and names that lead out of their folder', async (t) => {
  await assert.rejects(packed(t, { 'one.patch': patch('int other;', 'int waits;') }), hasCode('source-patches'));
  assert.throws(() => seriesOf('../../etc/passwd\n'), hasCode('source-patches'));
  assert.deepEqual(seriesOf('# a note\n\none.patch\nsub/two.patch -p1\n'), ['one.patch', 'sub/two.patch']);
});
