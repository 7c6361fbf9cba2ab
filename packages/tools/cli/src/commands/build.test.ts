import assert from 'node:assert/strict';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KmendError } from '@kmend/base';
import { exampleLivepatch } from '@kmend/harness/servers';
import { runKmend } from '../testing/run.ts';
import { buildCommand, buildText, worstExit } from './build.ts';

test('rejects a malformed effective version before it looks for kernel or fix', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-build-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const build = (version: string) => {
    const argv = ['build', '--kernel', 'none', '--fix', 'none', '--out', join(home, 'out')];
    return runKmend([buildCommand], { KMEND_HOME: home, KMEND_CACHE: home }, ...argv, '--effective-version', version);
  };
  const { exitCode, err } = await build('v6.1.176');
  assert.equal(exitCode, 1);
  assert.match(err, /"v6\.1\.176" is not a version.*\[version-malformed\]\n {2}name the linux package/);
  assert.match((await build('6.1.176-1')).err, /\[fix-unknown\]/);
});

test('builds for no kernel when one of several is unknown, and ends with the worst exit code of all', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-build-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const patch = join(home, 'fix.patch');
  await writeFile(patch, '--- a/fs/attr.c\n+++ b/fs/attr.c\n@@ -1 +1 @@\n-a\n+b\n');
  const argv = ['build', '--kernel', 'one', 'two', '--patch', patch, '--out', join(home, 'out')];
  const { exitCode, err } = await runKmend([buildCommand], { KMEND_HOME: home, KMEND_CACHE: home }, ...argv);
  assert.equal(exitCode, 1);
  assert.match(err, /the kernel one is not in the store/);
  await assert.rejects(access(join(home, 'out')));
  const { manifest } = exampleLivepatch(1);
  const known = { release: manifest.kernel.release, buildId: manifest.kernel.buildId, out: 'out' };
  const of = (verdict: 'patchable' | 'needs-review' | 'refused') => ({ ...known, livepatch: { ...manifest, verdict } });
  const failed = { ...known, error: new KmendError('tree-failed', 'no tree') };
  assert.equal(worstExit([of('patchable'), of('patchable')]), 0);
  assert.equal(worstExit([of('patchable'), of('needs-review')]), 4);
  assert.equal(worstExit([of('refused'), of('needs-review')]), 3);
  assert.equal(worstExit([of('refused'), failed, of('patchable')]), 1);
});

test('names the effective version in the summary of a build as the maker’s statement', () => {
  const { manifest } = exampleLivepatch(1);
  assert.doesNotMatch(buildText(manifest, 'out'), /effective/);
  assert.match(
    buildText({ ...manifest, effectiveVersion: '6.1.176-1' }, 'out'),
    /^ {2}effective version: 6\.1\.176-1 \(as you stated\)$/m,
  );
});

test('shows how many functions equal the fixed kernel, which do not, and what was not compared', () => {
  const { manifest } = exampleLivepatch(1);
  assert.match(buildText(manifest, 'out'), /^ {2}not compared with a fixed kernel: the livepatch is refused$/m);
  const difference = { name: 'f', source: 'a.c', version: '6.1.176-1', files: ['a.c'] };
  const fixedKernel = {
    compared: 3,
    equal: 1,
    kernels: [{ version: '6.1.176-1', release: '6.1.0-50-amd64', buildId: '0'.repeat(40) }],
    different: [
      { ...difference, cause: 'own-file' as const, message: 'f is not what 6.1.176-1 has' },
      { ...difference, cause: 'other-files' as const, message: 'told as a reason' },
    ],
    notCompared: ['6.1.180-1 is not in the store', 'a.c: no version', 'b.c: no version'],
  };
  const text = buildText({ ...manifest, fixedKernel }, 'out');
  assert.match(text, /^ {2}equal to the fixed kernel 6\.1\.0-50-amd64 \(6\.1\.176-1\): 1 of 3 functions$/m);
  assert.match(text, /^ {4}f is not what 6\.1\.176-1 has$/m);
  assert.doesNotMatch(text, /told as a reason/);
  assert.match(text, /^ {2}not compared with a fixed kernel: 6\.1\.180-1 is not in the store$/m);
  assert.match(text, /^ {2}not compared with a fixed kernel: 2 files, a\.c first: no version$/m);
});
