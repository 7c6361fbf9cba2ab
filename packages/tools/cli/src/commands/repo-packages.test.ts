import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { exampleLivepatch, writeLivepatch } from '@kmend/harness/servers';
import { patchServer } from '../testing/patch-server.ts';
import { runKmend, type Said } from '../testing/run.ts';
import { repoCommands } from './repo.ts';

const INIT = ['repo', 'packages', 'init', '--origin', 'Example', '--maintainer', 'Example <p@example.invalid>'];

test('publishes a built livepatch in a repository that the server gives to key holders', async (t) => {
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

test('marks a fresh kernel as needing none until one is added or the statement is withdrawn', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-repo-none-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const { kernel } = exampleLivepatch(1).manifest;
  const record = join(home, 'cache/kernels', kernel.release);
  await mkdir(record, { recursive: true });
  const compiler = { text: 'gcc-12 12.2.0', command: 'gcc-12' };
  const known = { schema: 'kmend.kernel/1', ...kernel, sourcePackage: 'linux-source-6.1', suite: 'bookworm', compiler };
  await writeFile(join(record, 'kernel.json'), JSON.stringify(known));
  const packages = (...argv: string[]): Promise<Said> =>
    runKmend([repoCommands], { KMEND_HOME: home, KMEND_CACHE: join(home, 'cache') }, 'repo', 'packages', ...argv);
  const refused = async (code: string, ...argv: string[]): Promise<void> => {
    const said = await packages(...argv, '--json');
    assert.deepEqual([said.exitCode === 0, JSON.parse(said.out).error.code], [false, code]);
  };
  const listed = async (): Promise<string> => (await packages('list')).out;
  await refused('depot-missing', 'none', kernel.release);
  assert.equal((await packages(...INIT.slice(2), '--url', 'https://p.example.invalid')).exitCode, 0);
  await refused('kernel-not-added', 'none', '6.1.0-48-amd64');

  const said = await packages('none', kernel.release, '--json');
  assert.deepEqual(JSON.parse(said.out), { release: kernel.release, buildId: kernel.buildId, serial: 1 });
  assert.match(await listed(), /6\.1\.0-47-amd64: state 1; needs no livepatch yet/);
  assert.match((await packages('none', kernel.release)).out, /^state 1:/, 'said twice it is one state');
  const back = await packages('withdraw', kernel.release);
  assert.match(back.out, /the statement that 6\.1\.0-47-amd64 needs no livepatch is withdrawn/);
  assert.doesNotMatch(await listed(), /needs no livepatch/);

  assert.match((await packages('none', kernel.release)).out, /^state 3:/);
  await writeLivepatch(join(home, 'built'), 1);
  assert.equal((await packages('add', join(home, 'built'), '--unproven')).exitCode, 0);
  assert.doesNotMatch(await listed(), /needs no livepatch/);
  await refused('livepatch-published', 'none', kernel.release);
});
