import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type KmendError, silentProgress } from '@kmend/base';
import { sha256, systemClock } from '@kmend/base/node';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { download, type HttpEdges } from './http.ts';

const limits = { attempts: 2, pauseMs: 5, stallMs: 150, attemptMs: 400, leastRate: 1 << 20 };
const CONTENT = 'a package';
const expected = { size: CONTENT.length, sha256: sha256(CONTENT) };

interface World {
  readonly edges: HttpEdges;
  readonly url: string;
  readonly destination: string;
  readonly directory: string;
  /** Requests so far. */
  asked(): number;
}

async function world(t: TestContext, answer: RequestListener, signal = new AbortController().signal): Promise<World> {
  const directory = await folder(t);
  let asked = 0;
  const server = createServer((request, response) => {
    asked++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const edges = { fetch, clock: systemClock, progress: silentProgress, signal, limits };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
  return { edges, url, directory, destination: join(directory, 'down', 'file'), asked: () => asked };
}

async function nothingLeft({ directory }: World): Promise<void> {
  assert.deepEqual(await readdir(join(directory, 'down')), []);
}

test('downloads a file with the expected hash', async (t) => {
  const it = await world(t, (_, response) => void response.end(CONTENT));
  assert.equal(await download(it.edges, it.url, it.destination, { limit: 100, expected }), it.destination);
  assert.equal(await readFile(it.destination, 'utf8'), CONTENT);
  assert.deepEqual(await readdir(join(it.directory, 'down')), ['file']);
});

test('rejects other content at once with the caller’s error, and leaves nothing', async (t) => {
  for (const content of ['b package', '', `${CONTENT} and more`]) {
    const it = await world(t, (_, response) => void response.end(content));
    await assert.rejects(
      download(it.edges, it.url, it.destination, { limit: 100, expected }),
      hasCode('package-damaged'),
    );
    await assert.rejects(
      download(it.edges, it.url, it.destination, { limit: 100, expected, mismatch: 'archive-garbage' }),
      hasCode('archive-garbage'),
    );
    assert.equal(it.asked(), 2);
    await nothingLeft(it);
  }
});

test('reports a missing file', async (t) => {
  const it = await world(t, (_, response) => void response.writeHead(404).end('not found'));
  assert.equal(await download(it.edges, it.url, it.destination, { limit: 100 }), undefined);
  assert.equal(it.asked(), 1);
  await nothingLeft(it);
});

test('stops an endless answer at the limit', async (t) => {
  const it = await world(t, (_, response) => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(1 << 16)));
    };
    response.on('drain', more);
    more();
  });
  await assert.rejects(download(it.edges, it.url, it.destination, { limit: 1 << 20 }), hasCode('archive-garbage'));
  await nothingLeft(it);
});

const faults: Readonly<Record<string, RequestListener>> = {
  'status 500': (_, response) => void response.writeHead(500).end('broken'),
  'no answer': () => {},
  'an answer that stops': (_, response) => void response.writeHead(200, { 'content-length': '100' }).write('half'),
  'an answer that is cut off': (_, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('half');
    setTimeout(() => response.destroy(), 20);
  },
  'a byte now and then, for ever': (_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('.'), 50);
    response.on('close', () => clearInterval(timer));
  },
  'no HTTP': (request) => void request.socket.end('SSH-2.0-OpenSSH\r\n'),
};

for (const [what, answer] of Object.entries(faults)) {
  test(`retries after ${what}, then reports unreachable, within bounds`, async (t) => {
    const it = await world(t, answer);
    const started = performance.now();
    await assert.rejects(download(it.edges, it.url, it.destination, { limit: 1000 }), (error: KmendError) => {
      assert.equal(error.code, 'archive-unreachable');
      assert.match(error.hint ?? '', /KMEND_MIRROR/);
      return true;
    });
    assert.equal(it.asked(), limits.attempts);
    assert.ok(performance.now() - started < 5_000);
    await nothingLeft(it);
  });
}

test('tolerates a single failed attempt', async (t) => {
  let faulty = true;
  const it = await world(t, (_, response) => {
    if (faulty) response.writeHead(503).end();
    else response.end(CONTENT);
    faulty = false;
  });
  assert.equal(await download(it.edges, it.url, it.destination, { limit: 100, expected }), it.destination);
});

test('reports a refused connection, and an unknown address', async (t) => {
  const it = await world(t, () => {});
  for (const url of ['http://127.0.0.1:1/file', 'not an address']) {
    await assert.rejects(download(it.edges, url, it.destination, { limit: 100 }), hasCode('archive-unreachable'));
  }
});

test('reports a full disk or a missing folder at once, and does not blame the mirror', async (t) => {
  const it = await world(t, (_, response) => void response.end(CONTENT));
  await mkdir(join(it.directory, 'down'));
  await symlink('/dev/full', `${it.destination}.part`);
  await assert.rejects(download(it.edges, it.url, it.destination, { limit: 100 }), (error: KmendError) => {
    assert.equal(error.code, 'cache-unwritable');
    assert.match(error.message, /ENOSPC/);
    return true;
  });
  assert.equal(it.asked(), 1);
  await nothingLeft(it);
  const file = join(it.directory, 'a-file');
  await writeFile(file, '');
  await assert.rejects(download(it.edges, it.url, join(file, 'below'), { limit: 100 }), hasCode('cache-unwritable'));
});

test('makes no further attempt after an interrupt, and leaves nothing', async (t) => {
  const stop = new AbortController();
  const it = await world(
    t,
    (_, response) => {
      response.writeHead(200).write('half');
      setTimeout(() => stop.abort(), 30);
    },
    stop.signal,
  );
  await assert.rejects(download(it.edges, it.url, it.destination, { limit: 100 }), { name: 'AbortError' });
  assert.equal(it.asked(), 1);
  await nothingLeft(it);
});
