import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sha256, systemClock } from '@kmend/base/node';
import {
  createRepository,
  loadReleaseKey,
  openRepository,
  openRepositoryClient,
  type RepositoryClient,
  signPublication,
} from '@kmend/trust';
import { exampleModule } from '@kmend/trust/testing';
import { code } from '../testing/errors.ts';
import { check, makeHost, never } from '../testing/host.ts';
import { BUILD_ID } from '../testing/kernel.ts';
import { TestRepository } from '../testing/repository.ts';
import type { Loader } from './context.ts';

const MODULE = exampleModule('of the repository');

/** A signed repository on a real web server, with one livepatch in it, and an agent that trusts its root. */
async function makeSigned(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-agent-signed-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const clock = systemClock;
  const created = await createRepository({
    offlineKeys: join(directory, 'offline'),
    onlineKeys: join(directory, 'online'),
    repository: join(directory, 'repository'),
    clock,
  });
  const keyDirectory = join(directory, 'online');
  const repository = await openRepository({ repository: created.repository, keyDirectory, clock });
  const releaseKey = await loadReleaseKey(join(directory, 'offline'));
  const livepatch = join(directory, 'livepatch');
  await mkdir(livepatch);
  const example = new TestRepository(livepatch);
  const { manifest } = await example.fetchLivepatch(BUILD_ID, 1);
  const file = { name: 'livepatch.ko', sha256: sha256(MODULE.module), size: MODULE.module.length };
  const own = { id: MODULE.identity.id, module: MODULE.identity.name, file };
  await writeFile(join(livepatch, 'livepatch.ko'), MODULE.module);
  await writeFile(join(livepatch, 'livepatch.json'), JSON.stringify({ ...manifest, ...own }));
  const signed = await signPublication({
    state: repository.state,
    releaseKey,
    livepatch,
    channel: 'stable',
    unproven: true,
    clock,
  });
  const files = new Map(signed.files.map((file) => [file.sha256, file.path]));
  await repository.acceptPublication(signed.request, (sha256) => files.get(sha256) ?? '');

  const server = createServer(async (request, response) => {
    const file = await readFile(join(created.repository, request.url ?? '')).catch(() => undefined);
    response.writeHead(file === undefined ? 404 : 200).end(file);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const stop = (): void => {
    server.closeAllConnections();
    server.close();
  };
  t.after(stop);

  const host = await makeHost(t);
  host.kernel.clock.ms = Date.now();
  const cache = host.kernel.path('/var/lib/kmend-agent/loader/repository');
  const client = await openRepositoryClient({
    directory: cache,
    root: created.root,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  });
  const inHost = async <T extends { modulePath: string }>(found: Promise<T>): Promise<T> => {
    const it = await found;
    return { ...it, modulePath: it.modulePath.slice(host.kernel.root.length) };
  };
  const rooted: RepositoryClient = {
    check: (signal) => client.check(signal),
    fleetPolicy: (signal) => client.fleetPolicy(signal),
    kernelPolicy: (buildId, signal) => client.kernelPolicy(buildId, signal),
    fetchLivepatch: (buildId, serial, signal) => inHost(client.fetchLivepatch(buildId, serial, signal)),
    verifyCached: (buildId, serial) => inHost(client.verifyCached(buildId, serial)),
  };
  const loader: Loader = { ...host.loader, repository: rooted };
  host.loader = loader;
  return { host, loader, client, cache, stop };
}

/** Every file below a directory that holds these bytes gets other ones of the same length. */
async function tamper(directory: string, bytes: Buffer): Promise<number> {
  let count = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !(await readFile(path)).equals(bytes)) continue;
    await writeFile(path, 'x'.repeat(bytes.length));
    count += 1;
  }
  return count;
}

test('loads a livepatch from a signed repository on a web server into the kernel', async (t) => {
  const { host, loader, stop } = await makeSigned(t);
  assert.equal((await check(loader, never)).action, 'load');
  assert.equal(await host.advance(1_000), 'soak');
  assert.ok((await host.kernel.modules()).includes(MODULE.identity.name));
  stop();
  await assert.rejects(check(loader, never), code('repository-unreachable'));
});

test('does not load a module that changed in the cache between fetch and load', async (t) => {
  const { host, loader, cache } = await makeSigned(t);
  const { repository } = loader;
  const fetchLivepatch: RepositoryClient['fetchLivepatch'] = async (buildId, serial, signal) => {
    const fetched = await repository.fetchLivepatch(buildId, serial, signal);
    assert.equal(await tamper(cache, MODULE.module), 1);
    return fetched;
  };
  await assert.rejects(
    check({ ...loader, repository: { ...repository, fetchLivepatch } }, never),
    code('cache-mismatch'),
  );
  assert.deepEqual(host.kernel.commands, []);
  assert.equal(loader.store.journal.current, null);
  // The next check fetches it again.
  assert.equal((await check(loader, never)).action, 'load');
});

test('does not give the kernel a module that changes after its verification', async (t) => {
  const { host, loader, cache } = await makeSigned(t);
  const { repository } = loader;
  const verifyCached: RepositoryClient['verifyCached'] = async (buildId, serial) => {
    const verified = await repository.verifyCached(buildId, serial);
    await tamper(cache, MODULE.module);
    return verified;
  };
  await assert.rejects(
    check({ ...loader, repository: { ...repository, verifyCached } }, never),
    code('livepatch-damaged'),
  );
  assert.ok(!host.kernel.commands.some((it) => it.startsWith('insmod')));
  assert.deepEqual(await readdir(host.kernel.path('/run/kmend-agent/loader')), ['observed.json']);
});
