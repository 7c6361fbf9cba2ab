import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256, sha256File, systemClock } from '@kmend/base/node';
import type { Livepatch } from '@kmend/protocol';
import {
  bundleFetch,
  loadOnlineKeys,
  loadReleaseKey,
  openRepository,
  openRepositoryClient,
  signPublication,
} from '@kmend/trust';
import { runProgram } from '../program.ts';
import { repoCommands } from './repo.ts';

const BUILD_ID = 'ab'.repeat(20);
const MODULE = Buffer.alloc(3000, 1);

async function kmend(home: string, ...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const streams = {
    out: { write: (text: string) => (said.out += text) },
    err: { write: (text: string) => (said.err += text) },
  };
  const env = { KMEND_HOME: home };
  const { exitCode } = await runProgram(argv, [repoCommands], streams, env, new AbortController().signal);
  return { exitCode, ...said };
}

/** What `kmend build --out` writes, as far as publishing looks at it. */
async function writeLivepatch(directory: string): Promise<void> {
  const manifest: Livepatch = {
    schema: 'kmend.livepatch/1',
    id: '0123456789ab',
    module: 'kmend_0123456789ab',
    kind: 'cumulative',
    kernel: { buildId: BUILD_ID, release: '6.1.0-47-amd64', version: '6.1.170-3', arch: 'x86_64' },
    fixes: [{ id: 'CVE-2026-1', title: 'a fix', severity: 'high', hardware: false }],
    verdict: 'patchable',
    reasons: [],
    reviewAccepted: false,
    objects: [{ name: 'vmlinux', functions: [{ name: 'f', sympos: 0, source: 'net/f.c' }] }],
    byteProof: { compared: 1, equal: 1, different: [] },
    file: { name: 'livepatch.ko', sha256: sha256(MODULE), size: MODULE.length },
    inputs: { fixes: {}, config: sha256(''), moduleSymvers: sha256(''), vmlinux: sha256(''), source: sha256('') },
    compiler: 'gcc',
    builder: { name: 'kmend', version: '0.1.0' },
  };
  await mkdir(directory);
  await writeFile(join(directory, 'livepatch.ko'), MODULE);
  await writeFile(join(directory, 'livepatch.json'), JSON.stringify(manifest));
}

test('a bundle made by the command line brings a host its livepatch', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-repo-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  assert.equal((await kmend(home, 'repo', 'init')).exitCode, 0);
  const data = join(home, 'server');
  const keys = await loadOnlineKeys(join(data, 'keys'));
  const repository = await openRepository({ repository: join(data, 'repository'), keys, clock: systemClock });
  await writeLivepatch(join(home, 'livepatch'));
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
  assert.match(text.out, new RegExp(`${BUILD_ID}: serial 1\\nhosts take it until 20\\d\\d-`));
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
  assert.deepEqual(await readFile((await host.fetchLivepatch(BUILD_ID, 1, signal)).modulePath), MODULE);

  const other = await kmend(home, 'repo', 'bundle', '--kernel', 'cd'.repeat(20), '--out', join(home, 'other.tar'));
  assert.equal(other.exitCode, 1);
  assert.match(other.err, /does not cover kernel cdcd.*\[not-found\]/);
  const address = await kmend(home, ...bundle, '--repository', 'https://kmend.example.org/repository');
  assert.equal(address.exitCode, 2);
  assert.match(address.err, /needs --root/);
});
