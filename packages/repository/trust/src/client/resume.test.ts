import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Clock, errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { exampleModule } from '../testing/module.ts';
import { startWeb, type Tamper } from '../testing/web.ts';
import { BUILD_ID, makeWorld } from '../testing/world.ts';
import { openRepositoryClient, type RepositoryClientOptions } from './client.ts';

const { signal } = new AbortController();
const MODULE = exampleModule('livepatch 1').module;
const CUT = 1200;

/** A client that knows livepatch 1 and has its manifest, but not its module. */
async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  await world.publish(1);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const directory = world.path('cache');
  const open = (more: Partial<RepositoryClientOptions> = {}) =>
    openRepositoryClient({ directory, root: world.created.root, url: web.url, ...more });
  const client = await open();
  await client.check(signal);
  const asked: string[] = [];
  /** Notes what is asked for of modules, then lets `inner` answer in place of the server. */
  const watch = (inner: Tamper = () => false): void => {
    web.tamper = (request, response) => {
      if (!isModule(request)) return false;
      asked.push(`${request.headers.range ?? 'whole'}${request.headers['if-range'] === undefined ? '' : ' if-range'}`);
      return inner(request, response);
    };
  };
  watch();
  const breaksOff: Tamper = (_request, response) => breakOff(directory, response);
  const partials = () => readdir(join(directory, 'partial'));
  const fetch = async (from = client) => (await from.fetchLivepatch(BUILD_ID, 1, signal)).modulePath;
  return { world, web, directory, open, client, asked, watch, breaksOff, partials, fetch };
}

function isModule(request: IncomingMessage): boolean {
  return request.url?.endsWith('livepatch.ko') === true;
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

/** The path of the one partial download there is. */
async function partialPath(directory: string): Promise<string> {
  const names = (await readdir(join(directory, 'partial'))).filter((name) => !name.endsWith('.json'));
  assert.equal(names.length, 1);
  return join(directory, 'partial', names[0] ?? '');
}

/**
 * Waits until the client has the module's beginning on its disk: what broke off before that would leave as much as the
 * machine was quick.
 */
async function beginningKept(directory: string, until?: AbortSignal): Promise<void> {
  const size = async (): Promise<number> => (await stat(await partialPath(directory))).size;
  while (until?.aborted !== true && (await size().catch(() => 0)) < CUT) await systemClock.sleep(5);
  until?.throwIfAborted();
}

/** Sends the beginning of the module and goes away once the client with this cache has it. */
async function breakOff(directory: string, response: ServerResponse, etag = '"one"'): Promise<true> {
  // That of a download before would be taken for this one's.
  await rm(join(directory, 'partial'), { recursive: true, force: true });
  await mkdir(join(directory, 'partial'));
  response.writeHead(200, { etag, 'content-length': MODULE.length });
  response.write(MODULE.subarray(0, CUT));
  await beginningKept(directory);
  response.destroy();
  return true;
}

test('resumes an interrupted download', async (t) => {
  const { web, asked, watch, partials, fetch, directory } = await setUp(t);
  watch(async (request, response) => {
    const etag = (await globalThis.fetch(`${web.url}${request.url}?again`)).headers.get('etag') ?? '';
    return breakOff(directory, response, etag);
  });
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  assert.deepEqual(await readFile(await partialPath(directory)), MODULE.subarray(0, CUT));
  watch();
  web.log = [];
  assert.deepEqual(await readFile(await fetch()), MODULE);
  assert.deepEqual(asked, ['whole', `bytes=${CUT}- if-range`]);
  assert.deepEqual(
    web.log.map((line) => line.slice(0, 3)),
    ['206'],
  );
  assert.deepEqual(await partials(), [], 'nothing is left behind');
});

test('resumes after a stall, with a client of another process', async (t) => {
  const { open, directory, asked, watch, fetch } = await setUp(t);
  const limits = { headersMs: 60_000, stallMs: 200, graceMs: 60_000, minBytesPerSecond: 1 };
  // The time without a byte is over once the beginning has come.
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, until) => (ms === limits.stallMs ? beginningKept(directory, until) : systemClock.sleep(ms, until)),
  };
  watch((_request, response) => {
    response.writeHead(200, { 'content-length': MODULE.length }).write(MODULE.subarray(0, CUT));
    return true;
  });
  await assert.rejects(fetch(await open({ limits, clock })), withCode('repository-slow'));
  watch();
  assert.deepEqual(await readFile(await fetch(await open())), MODULE);
  assert.deepEqual(asked, ['whole', `bytes=${CUT}-`], 'without an ETag there is no condition');
});

/** Fetches a livepatch in a process of its own. */
const CLIENT = `
import { openRepositoryClient } from ${JSON.stringify(new URL('./client.ts', import.meta.url).href)};
const [root, url, directory, buildId] = process.argv.slice(1);
const client = await openRepositoryClient({ directory, root, url });
await client.fetchLivepatch(buildId, 1, new AbortController().signal);
`;

test('resumes after the process was killed during the download', async (t) => {
  const { world, web, directory, asked, watch, fetch } = await setUp(t);
  const sent = new Promise<void>((resolve) => {
    watch((_request, response) => {
      response.writeHead(200, { 'content-length': MODULE.length }).write(MODULE.subarray(0, CUT));
      resolve();
      return true;
    });
  });
  const args = ['--input-type=module', '--eval', CLIENT, '--', world.created.root, web.url, directory, BUILD_ID];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  await sent;
  await beginningKept(directory);
  child.kill('SIGKILL');
  await once(child, 'exit');
  watch();
  assert.deepEqual(await readFile(await fetch()), MODULE);
  assert.deepEqual(asked, ['whole', `bytes=${CUT}-`]);
});

test('starts again from a server without ranges, or with another file by now', async (t) => {
  const { breaksOff, asked, watch, fetch } = await setUp(t);
  watch(breaksOff);
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  // The real server's ETag is another one than breakOff's: the condition fails and all of it comes.
  watch();
  assert.deepEqual(await readFile(await fetch()), MODULE);
  assert.deepEqual(asked, ['whole', `bytes=${CUT}- if-range`]);
});

test('sends no ETag to another mirror, and no weak one to any', async (t) => {
  const { breaksOff, web, world, open, asked, watch, fetch } = await setUp(t);
  watch(breaksOff);
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  const mirror = await startWeb(world.created.repository);
  t.after(() => mirror.close());
  const ranges: unknown[] = [];
  mirror.tamper = (request) => {
    if (isModule(request)) ranges.push(request.headers.range, request.headers['if-range']);
    return false;
  };
  await fetch(await open({ url: mirror.url }));
  assert.deepEqual(ranges, [`bytes=${CUT}-`, undefined]);
  const other = await open({ directory: world.path('other'), url: web.url });
  await other.check(signal);
  watch((_request, response) => breakOff(world.path('other'), response, 'W/"weak"'));
  await assert.rejects(fetch(other), withCode('repository-unreachable'));
  watch();
  await fetch(other);
  assert.deepEqual(asked, ['whole', 'whole', `bytes=${CUT}-`]);
});

test('discards a wrong partial download and fetches the whole file once', async (t) => {
  const { directory, asked, watch, partials, fetch } = await setUp(t);
  watch((_request, response) => breakOff(directory, response, ''));
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  await writeFile(await partialPath(directory), Buffer.alloc(CUT, 7));
  watch();
  assert.deepEqual(await readFile(await fetch()), MODULE);
  assert.deepEqual(asked, ['whole', `bytes=${CUT}-`, 'whole']);
  assert.deepEqual(await partials(), []);
});

test('gives up if the whole file is wrong as well', async (t) => {
  const { directory, asked, watch, partials, fetch } = await setUp(t);
  watch((_request, response) => breakOff(directory, response, ''));
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  await writeFile(await partialPath(directory), Buffer.alloc(CUT, 7));
  asked.length = 0;
  watch((request, response) => {
    if (request.headers.range !== undefined) return false;
    response.writeHead(200, { 'content-length': MODULE.length }).end(Buffer.alloc(MODULE.length, 9));
    return true;
  });
  await assert.rejects(fetch(), withCode('repository-mismatch'));
  assert.deepEqual(asked, [`bytes=${CUT}-`, 'whole']);
  assert.deepEqual(await partials(), []);
});

test('ignores ranges that were not requested', async (t) => {
  const { directory, breaksOff, asked, watch, fetch } = await setUp(t);
  const wrong = [
    { 'content-range': `bytes 0-${MODULE.length - CUT - 1}/${MODULE.length}` },
    { 'content-range': `bytes ${CUT}-${MODULE.length - 1}/9999` },
    { 'content-range': `bytes ${CUT}-${MODULE.length - 2}/${MODULE.length}` },
    { 'content-type': 'multipart/byteranges; boundary=x' },
  ];
  for (const headers of wrong) {
    watch(breaksOff);
    await assert.rejects(fetch(), withCode('repository-unreachable'));
    asked.length = 0;
    let whole = 0;
    watch((request, response) => {
      if (request.headers.range === undefined) {
        whole++;
        return breakOff(directory, response);
      }
      response.writeHead(206, headers).end(MODULE.subarray(CUT));
      return true;
    });
    await assert.rejects(fetch(), withCode('repository-unreachable'));
    assert.deepEqual([asked.length, whole], [2, 1], JSON.stringify(headers));
  }
});

test('verifies a beginning as long as the file without a request, and discards a longer one', async (t) => {
  const { directory, asked, watch, fetch, client, world } = await setUp(t);
  watch((_request, response) => breakOff(directory, response, ''));
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  const path = await partialPath(directory);
  await writeFile(path, MODULE);
  asked.length = 0;
  assert.deepEqual(await readFile(await fetch()), MODULE);
  assert.deepEqual(asked, []);
  await truncate(join(directory, 'targets', 'kernels', BUILD_ID, '1', 'livepatch.ko'), 0);
  await writeFile(path, Buffer.concat([MODULE, MODULE]));
  watch();
  assert.deepEqual(await readFile(await fetch(client)), MODULE);
  assert.deepEqual(asked, ['whole'], world.directory);
});

test('stops a resumed download at the signed length, and keeps nothing', async (t) => {
  const { breaksOff, watch, partials, fetch } = await setUp(t);
  watch(breaksOff);
  await assert.rejects(fetch(), withCode('repository-unreachable'));
  watch((_request, response) => {
    response.writeHead(206, { 'content-range': `bytes ${CUT}-${MODULE.length - 1}/${MODULE.length}` });
    response.end(Buffer.concat([MODULE.subarray(CUT), Buffer.from('x')]));
    return true;
  });
  await assert.rejects(fetch(), withCode('repository-too-large'));
  assert.deepEqual(await partials(), []);
});

test('removes partial downloads that are not resumed', async (t) => {
  const { directory, partials, client, world } = await setUp(t);
  const folder = join(directory, 'partial');
  await mkdir(folder, { recursive: true });
  const age = async (name: string, days: number) => {
    await writeFile(join(folder, name), 'x');
    await writeFile(join(folder, `${name}.json`), '{}');
    const then = new Date(Date.now() - days * 86_400_000);
    await utimes(join(folder, name), then, then);
  };
  await age('old', 4);
  await age('young', 1);
  await writeFile(join(folder, 'alone.json'), '{}');
  await world.publish(2);
  await client.check(signal);
  assert.deepEqual((await partials()).sort(), ['young', 'young.json']);
  await age('younger', 0.5);
  await age('youngest', 0.1);
  await world.publish(3);
  await client.check(signal);
  assert.deepEqual((await partials()).sort(), ['younger', 'younger.json', 'youngest', 'youngest.json']);
});

test('always fetches metadata whole', async (t) => {
  const { world, web, client } = await setUp(t);
  await world.publish(2);
  const ranges: unknown[] = [];
  let cut = true;
  web.tamper = (request, response) => {
    ranges.push(request.headers.range);
    if (!cut || request.url?.endsWith('targets.json') !== true) return false;
    response.writeHead(200, { etag: '"x"', 'content-length': 5000 }).write('{"signatures":');
    setTimeout(() => response.destroy(), 20);
    return true;
  };
  await world.publish(3, {
    kernel: { buildId: 'ef'.repeat(20), release: '6.1.0-1-amd64', version: '6.1.1-1', arch: 'x86_64' },
  });
  await assert.rejects(client.check(signal), withCode('repository-unreachable'));
  cut = false;
  await client.check(signal);
  assert.ok(ranges.length > 4);
  assert.ok(ranges.every((range) => range === undefined));
});
