import assert from 'node:assert/strict';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { Metadata, MetadataKind } from '@tufjs/models';
import { failureKind, TrustError } from '../error.ts';
import { loadOnlineKeys } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { TIMESTAMP_FILE } from '../repository/layout.ts';
import { startWeb, type Tamper, type TestWeb } from '../testing/web.ts';
import { BUILD_ID, makeWorld } from '../testing/world.ts';
import { openRepositoryClient, type RepositoryClientOptions } from './client.ts';

const { signal } = new AbortController();
const LIMITS = { headersMs: 300, stallMs: 300, graceMs: 1000, minBytesPerSecond: 1 };

/** A repository behind a first mirror, which the tests spoil, and a second one, which is good. */
async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  await world.publish(1);
  const [first, second] = [await startWeb(world.created.repository), await startWeb(world.created.repository)];
  for (const web of [first, second]) t.after(() => web.close());
  const open = (more: Partial<RepositoryClientOptions> = {}) =>
    openRepositoryClient({
      directory: world.path('cache'),
      root: world.created.root,
      url: [first.url, second.url],
      limits: LIMITS,
      ...more,
    });
  /** What both mirrors were asked for since the last look. */
  const log = () => {
    const both = { first: first.log, second: second.log };
    first.log = [];
    second.log = [];
    return both;
  };
  const keep = async (name: string) => {
    await cp(world.created.repository, world.path(name), { recursive: true });
    return world.path(name);
  };
  return { world, first, second, open, log, keep };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

test('asks no other mirror while the first answers; an idle check is one conditional request', async (t) => {
  const { open, log } = await setUp(t);
  const client = await open();
  assert.deepEqual((await client.check(signal)).passedOver, undefined);
  await client.fetchLivepatch(BUILD_ID, 1, signal);
  log();
  await client.check(signal);
  assert.deepEqual(log(), { first: [`304 /${TIMESTAMP_FILE}`], second: [] });
});

test('skips a failing mirror, and asks the one that worked first from then on', async (t) => {
  const html = '<html>please log in</html>';
  const answers: Readonly<Record<string, Tamper>> = {
    'repository-unreachable': (_request, response) => {
      response.writeHead(503).end();
      return true;
    },
    'repository-slow': () => true,
    'not-found': (request, response) => {
      if (!/\d\.(snapshot|targets)\.json$/.test(request.url ?? '')) return false;
      response.writeHead(404).end();
      return true;
    },
    'repository-garbage': (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end(html);
      return true;
    },
    'repository-too-large': (request, response) => {
      if (!request.url?.endsWith('timestamp.json')) return false;
      response.end(Buffer.alloc(100_000, 32));
      return true;
    },
  };
  for (const [code, tamper] of Object.entries(answers)) {
    const { world, first, open, log } = await setUp(t);
    first.tamper = tamper;
    const client = await open();
    const outcome = await client.check(signal);
    assert.deepEqual(
      outcome.passedOver?.map(({ url, code }) => [url, code]),
      [[first.url, code]],
    );
    log();
    assert.equal((await client.check(signal)).passedOver, undefined);
    assert.deepEqual(log(), { first: [], second: [`304 /${TIMESTAMP_FILE}`] }, code);
    await world.publish(2);
    await (await open()).check(signal);
    assert.deepEqual(log().first, [], `${code}: also after a restart`);
  }
});

test('skips a mirror without any connection', async (t) => {
  const { first, open } = await setUp(t);
  await first.close();
  const outcome = await (await open()).check(signal);
  assert.equal(outcome.passedOver?.[0]?.code, 'repository-unreachable');
});

test('updates despite a mirror that rolls back, forges, or stands still', async (t) => {
  const { world, first, open, keep } = await setUp(t);
  const old = await keep('old');
  await world.publish(2);
  const client = await open();
  await client.check(signal);
  first.root = old;
  const back = await client.check(signal);
  assert.deepEqual([back.changed, back.passedOver?.[0]?.code], [false, 'repository-rollback']);

  const forging = await open({ directory: world.path('forging') });
  first.root = world.created.repository;
  first.tamper = async (request, response) => {
    if (!request.url?.endsWith('timestamp.json')) return false;
    response.end(world.repository.timestampText.replace(/"version":\d+/, '"version":99'));
    return true;
  };
  assert.equal((await forging.check(signal)).passedOver?.[0]?.code, 'repository-unsigned');

  first.tamper = undefined;
  first.root = await keep('frozen');
  await expireTimestamp(world, first);
  const late = await open({ directory: world.path('late') });
  const outcome = await late.check(signal);
  assert.equal(outcome.passedOver?.[0]?.code, 'repository-expired');
  assert.equal((await late.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 2);
});

/** Leaves a mirror with a timestamp that expired yesterday. */
async function expireTimestamp(world: Awaited<ReturnType<typeof makeWorld>>, web: TestWeb): Promise<void> {
  const { timestamp } = world.repository.state;
  const json = JSON.parse(JSON.stringify(timestamp.toJSON()));
  json.signed.expires = new Date(Date.now() - 86_400_000).toISOString();
  const keys = await loadOnlineKeys(world.path('online'));
  await writeFile(
    join(web.root, TIMESTAMP_FILE),
    signedText(Metadata.fromJSON(MetadataKind.Timestamp, json), keys.timestamp),
  );
}

test('sends an ETag only to the mirror that gave it', async (t) => {
  const { first, second, open } = await setUp(t);
  const client = await open();
  await client.check(signal);
  first.tamper = (_request, response) => {
    response.writeHead(500).end();
    return true;
  };
  const seen: unknown[] = [];
  second.tamper = (request) => {
    seen.push(request.headers['if-none-match']);
    return false;
  };
  await client.check(signal);
  await client.check(signal);
  assert.equal(seen.length, 2);
  assert.equal(seen[0], undefined);
  assert.match(String(seen[1]), /^"/, 'and from then on to the other one, with its own');
});

test('takes a livepatch from another mirror if one lacks it or has it wrong', async (t) => {
  const { world, first, open, log } = await setUp(t);
  const copy = world.path('copy');
  await cp(world.created.repository, copy, { recursive: true });
  const folder = join(copy, 'targets', 'kernels', BUILD_ID, '1');
  first.root = copy;
  const module = (await readdir(folder)).find((name) => name.endsWith('.ko')) ?? '';
  await writeFile(join(folder, module), Buffer.alloc(2001, 9));
  const client = await open();
  await client.check(signal);
  await client.fetchLivepatch(BUILD_ID, 1, signal);
  assert.ok(log().second.some((line) => line.endsWith('.ko')));
  await rm(join(folder, module));
  const other = await open({ directory: world.path('other') });
  await other.check(signal);
  await other.fetchLivepatch(BUILD_ID, 1, signal);
  await rm(join(copy, 'targets', 'policy'), { recursive: true });
  const third = await open({ directory: world.path('third') });
  await third.check(signal);
  assert.equal((await third.fleetPolicy(signal))?.halted, false);
});

test('reports every failing mirror, the worst first', async (t) => {
  const { first, second, open } = await setUp(t);
  const third = await startWeb('/nonexistent');
  t.after(() => third.close());
  await first.close();
  second.tamper = (_request, response) => {
    response.end('<html>');
    return true;
  };
  const client = await open({ url: [first.url, third.url, second.url] });
  const error = await client.check(signal).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TrustError);
  assert.equal(error.code, 'repository-garbage');
  assert.equal(failureKind(error), 'untrusted');
  const order = [second.url, third.url, first.url].map((url) => error.message.indexOf(`${url}:`));
  assert.ok(
    order.every((at, n) => at > (order[n - 1] ?? 0)),
    error.message,
  );
  const told = error.details?.['mirrors'];
  assert.ok(Array.isArray(told));
  assert.deepEqual(
    told.map(({ code }) => code),
    ['repository-garbage', 'not-found', 'repository-unreachable'],
  );
});

test('asks only one mirror for what no mirror can correct', async (t) => {
  const { open, log, first } = await setUp(t);
  const client = await open();
  await client.check(signal);
  log();
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 7, signal), withCode('not-found'));
  assert.deepEqual(log().second, []);
  const reason = new Error('stop');
  const stop = new AbortController();
  first.tamper = () => {
    stop.abort(reason);
    return true;
  };
  await assert.rejects(client.check(stop.signal), reason);
  assert.deepEqual(log().second, []);
});

test('counts an address given twice as one mirror, and refuses an empty list', async (t) => {
  const { first, open, log } = await setUp(t);
  first.tamper = (_request, response) => {
    response.writeHead(500).end();
    return true;
  };
  const client = await open({ url: [first.url, `${first.url}/`] });
  await assert.rejects(client.check(signal), withCode('repository-unreachable'));
  assert.equal(log().first.length, 1);
  await assert.rejects(open({ url: [] }), TypeError);
});
