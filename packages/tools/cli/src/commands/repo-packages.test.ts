import assert from 'node:assert/strict';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeLivepatch } from '@kmend/harness/servers';
import { patchServer } from '../testing/patch-server.ts';
import type { Said } from '../testing/run.ts';
import { repoCommands } from './repo.ts';

const INIT = ['repo', 'packages', 'init', '--origin', 'Example', '--maintainer', 'Example <p@example.invalid>'];

test('from a built livepatch to a repository that the server hands out to whoever has a key', async (t) => {
  const { home, url: address, api, kmend: run } = await patchServer(t, [repoCommands]);
  const kmend = (...argv: string[]): Promise<Said> => run(...argv, '--json');
  const done = async (...argv: string[]) => {
    const said = await kmend(...argv);
    assert.equal(said.exitCode, 0, said.err + said.out);
    return JSON.parse(said.out);
  };
  const failed = async (code: string, ...argv: string[]): Promise<void> => {
    const said = await kmend(...argv);
    assert.notEqual(said.exitCode, 0);
    assert.equal(JSON.parse(said.out).error.code, code, said.out);
  };
  await failed('not-configured', 'repo', 'apt');
  await failed('depot-missing', 'repo', 'packages', 'list');
  await failed('usage', ...INIT, '--url', 'ftp://example.invalid');
  await writeFile(join(home, 'keys/packages.key'), 'another one');
  await failed('key-exists', ...INIT, '--url', `${address}/packages`);
  await rm(join(home, 'keys/packages.key'));
  await done(...INIT, '--url', `${address}/packages`);
  await failed('depot-exists', ...INIT, '--url', `${address}/packages`);
  assert.equal((await stat(join(home, 'keys/packages.key'))).mode & 0o777, 0o600);

  await writeLivepatch(join(home, 'built'), 1);
  await failed('livepatch-unproven', 'repo', 'packages', 'add', join(home, 'built'));
  const { taken } = await done('repo', 'packages', 'add', join(home, 'built'), '--unproven');
  assert.deepEqual([taken[0].package, taken[0].stack.depth], ['livepatch-6.1.0-47-amd64-cumulative', 1]);
  const { kernels } = await done('repo', 'packages', 'list');
  assert.deepEqual(kernels[0].packages[0].fixes, ['CVE-2026-1']);
  assert.equal((await done('repo', 'packages', 'phase', '6.1.0-47-amd64', '20')).percent, 20);

  const { out, snippet, uploaded, url } = await done('repo', 'apt');
  assert.equal(uploaded, true);
  const release = await readFile(join(out, 'dists/updates/InRelease'), 'utf8');
  assert.match(snippet, /login kmend-THIS-MACHINE password ACTIVATION-KEY/);
  const ask = (authorization?: string) =>
    fetch(`${url}dists/updates/InRelease`, authorization === undefined ? {} : { headers: { authorization } });
  assert.equal((await ask()).status, 401);
  const { key } = await api.createKey({ name: 'k', channel: 'stable', seats: 1, expires: null });
  const answer = await ask(`Basic ${Buffer.from(`kmend-m1:${key}`).toString('base64')}`);
  assert.equal(await answer.text(), release);

  await done('repo', 'packages', 'withdraw', '6.1.0-47-amd64');
  const dnf = await done('repo', 'dnf', '--no-upload', '--open');
  assert.ok((await stat(join(dnf.out, 'repodata/repomd.xml.asc'))).size > 0);
  assert.doesNotMatch(dnf.snippet, /ACTIVATION-KEY/);
});
