import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { version as osVersion, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildAgentPackage } from './index.ts';
import { SNAPSHOT } from './snapshot.ts';

test('builds a reproducible, complete package whose agent runs on its own Node', async (t) => {
  const out = await mkdtemp(join(tmpdir(), 'kmend-agent-package-'));
  t.after(() => rm(out, { recursive: true, force: true }));
  const first = await buildAgentPackage({ out: join(out, 'a') });
  const second = await buildAgentPackage({ out: join(out, 'b') });
  assert.equal(first.sha256, second.sha256);
  execFileSync('dpkg-deb', ['-x', first.path, join(out, 'x')]);
  const contents = execFileSync('dpkg-deb', ['-c', first.path], { encoding: 'utf8' });
  for (const path of [
    'usr/bin/kmend-agent',
    'usr/lib/systemd/system/kmend-agent.service',
    'usr/share/doc/kmend-agent/agent.md',
  ]) {
    assert.match(contents, new RegExp(`root/root .* \\./${path}\n`));
  }
  const library = join(out, 'x/usr/lib/kmend-agent');
  const made = await readFile(join(library, SNAPSHOT));
  for (const word of [out, release(), osVersion()])
    assert.equal(made.includes(word), false, `the snapshot tells of ${word}`);
  const node = join(library, 'node');
  const snapshot = [`--snapshot-blob=${join(library, SNAPSHOT)}`, 'kmend-agent'];
  // A host's processor has other features than the one that the snapshot was made on: nothing of it is machine code.
  const lesser = ['--no-enable-avx', '--no-enable-avx2', '--no-enable-sse4-1', '--no-enable-popcnt'];
  for (const words of [[join(library, 'agent.cjs')], snapshot, [...lesser, ...snapshot]]) {
    const version = execFileSync(node, [...words, '--version'], { encoding: 'utf8' });
    assert.equal(version.trim(), first.version, words.join(' '));
  }
});
