import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { exampleLivepatch } from '../testing/livepatch.ts';
import { runKmend } from '../testing/run.ts';
import { buildCommand, buildText } from './build.ts';

test('a mistyped effective version ends the command before any kernel or fix is looked for', async (t) => {
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

test('the summary of a build names the effective version, as what it is: the maker’s word', () => {
  const { manifest } = exampleLivepatch(1);
  assert.doesNotMatch(buildText(manifest, 'out'), /effective/);
  assert.match(
    buildText({ ...manifest, effectiveVersion: '6.1.176-1' }, 'out'),
    /^ {2}effective version: 6\.1\.176-1 \(your word\)$/m,
  );
});
