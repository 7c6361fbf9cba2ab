import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256File, systemClock } from '@kmend/base/node';
import { BUILD_ID, writeLivepatch } from '@kmend/harness/servers';
import { bundleFetch, loadReleaseKey, openRepository, openRepositoryClient, signPublication } from '@kmend/trust';
import { runKmend, type Said } from '../testing/run.ts';
import { repoCommands } from './repo.ts';

const kmend = (home: string, ...argv: string[]): Promise<Said> =>
  runKmend([repoCommands], { KMEND_HOME: home }, ...argv);

test('makes a bundle that brings a host its livepatch', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-repo-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  assert.equal((await kmend(home, 'repo', 'init')).exitCode, 0);
  const data = join(home, 'server');
  const keyDirectory = join(data, 'keys');
  const repository = await openRepository({ repository: join(data, 'repository'), keyDirectory, clock: systemClock });
  const module = await writeLivepatch(join(home, 'livepatch'), 1);
  const signed = await signPublication({
    state: repository.state,
    releaseKey: await loadReleaseKey(join(home, 'keys')),
    livepatch: join(home, 'livepatch'),
    channel: 'stable',
    clock: systemClock,
    unproven: true,
  });
  const files = new Map(signed.files.map(({ sha256, path }) => [sha256, path]));
  await repository.acceptPublication(signed.request, (hash) => files.get(hash) ?? '');

  const out = join(home, 'bundle.tar');
  const bundle = ['repo', 'bundle', '--kernel', BUILD_ID, '--out', out];
  const text = await kmend(home, ...bundle);
  assert.equal(text.exitCode, 0, text.err);
  assert.match(text.out, new RegExp(`${BUILD_ID}: serial 1\\nhosts accept it until 20\\d\\d-`));
  const json = JSON.parse((await kmend(home, ...bundle, '--json')).out);
  assert.equal(json.sha256, await sha256File(out));
  assert.deepEqual(json.kernels, [{ buildId: BUILD_ID, serials: [1] }]);

  const { signal } = new AbortController();
  const root = join(data, 'repository', 'metadata', '1.root.json');
  const host = await openRepositoryClient({
    directory: join(home, 'host'),
    root,
    url: 'bundle:///',
    fetch: bundleFetch(out),
  });
  await host.check(signal);
  assert.deepEqual(await readFile((await host.fetchLivepatch(BUILD_ID, 1, signal)).modulePath), module);

  const other = await kmend(home, 'repo', 'bundle', '--kernel', 'cd'.repeat(20), '--out', join(home, 'other.tar'));
  assert.equal(other.exitCode, 1);
  assert.match(other.err, /does not cover kernel cdcd.*\[not-found\]/);
  const address = await kmend(home, ...bundle, '--repository', 'https://kmend.example.org/repository');
  assert.equal(address.exitCode, 2);
  assert.match(address.err, /needs --root/);
});
