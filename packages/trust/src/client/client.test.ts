import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { createRepository } from '../repository/create.ts';
import { startWeb } from '../testing/web.ts';
import { openRepositoryClient } from './client.ts';

const signal = new AbortController().signal;

test('the first check brings everything, the next one is a single conditional request', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-trust-'));
  t.after(() => rm(directory, { recursive: true }));
  const created = await createRepository({
    offlineKeys: join(directory, 'offline'),
    onlineKeys: join(directory, 'online'),
    repository: join(directory, 'repository'),
    clock: systemClock,
  });
  const web = await startWeb(created.repository);
  t.after(() => web.close());
  const open = () => openRepositoryClient({ directory: join(directory, 'cache'), root: created.root, url: web.url });
  const client = await open();
  const first = await client.check(signal);
  assert.deepEqual([first.changed, first.version], [true, 1]);
  web.log = [];
  assert.equal((await client.check(signal)).changed, false);
  assert.equal((await (await open()).check(signal)).changed, false);
  assert.deepEqual(web.log, ['304 /metadata/timestamp.json', '304 /metadata/timestamp.json']);
  assert.equal((await client.fleetPolicy(signal))?.checkIntervalSeconds, 300);
  assert.equal(await client.kernelPolicy('ab'.repeat(20), signal), undefined);
});
