import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fastify } from 'fastify';
import { ask } from '../testing/ask.ts';
import { type TestServer, testServer } from '../testing/world.ts';
import { readOnAfterRefusal } from './unread.ts';

const LARGE = 8 * 2 ** 20;

interface Heard {
  readonly status: number;
  readonly text: string;
  readonly ended: 'closed' | 'reset';
}

/**
 * Sends a request as a proxy in the middle of an upload does: all of it first, and only then does it look at what came.
 */
function upload(port: number, head: string, body: Buffer): Promise<Heard> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const end = (ended: Heard['ended']): void => resolve({ status: Number(text.slice(9, 12)), text, ended });
    socket.on('error', () => end('reset'));
    socket.write(`${head}\r\n\r\n`);
    socket.write(body, () => {
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
      });
      socket.on('close', () => end('closed'));
    });
  });
}

function request(line: string, type: string, length: string, token = 'wrong'): string {
  return `${line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: ${type}\r\n${length}`;
}

function portOf({ server }: TestServer): number {
  return Number(new URL(server.url).port);
}

test('answers a large upload that it refuses before reading it', async (t) => {
  const world = await testServer(t);
  const body = Buffer.alloc(LARGE, 32);
  const length = `content-length: ${LARGE}`;
  for (const [line, type, token, status, code] of [
    ['PUT /v1/packages/apt', 'application/x-tar', 'wrong', 401, 'unauthorized'],
    [`PUT /v1/uploads/${'0'.repeat(64)}`, 'application/octet-stream', 'wrong', 401, 'unauthorized'],
    [`PUT /v1/uploads/${'0'.repeat(64)}`, 'application/x-unknown', world.token, 400, 'bad-request'],
    ['POST /v1/reports', 'application/json', 'wrong', 401, 'unauthorized'],
    ['POST /v1/enrol', 'application/json', '', 413, 'too-large'],
    ['POST /v1/nowhere', 'application/json', '', 413, 'too-large'],
  ] as const) {
    const heard = await upload(portOf(world), request(line, type, length, token), body);
    assert.equal(heard.ended, 'closed', line);
    assert.deepEqual([heard.status, /"code":"([^"]+)"/.exec(heard.text)?.[1]], [status, code], line);
  }
});

test('refuses an upload of unknown length at the limit, with the reason', async (t) => {
  const world = await testServer(t);
  const piece = Buffer.alloc(2 ** 20);
  const chunked = Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')]);
  // One piece more than the 64 MiB that an upload may have, and some on the way when it is refused.
  const body = Buffer.concat([...Array.from({ length: 68 }, () => chunked), Buffer.from('0\r\n\r\n')]);
  const line = `PUT /v1/uploads/${'0'.repeat(64)}`;
  const head = request(line, 'application/octet-stream', 'transfer-encoding: chunked', world.token);
  const heard = await upload(portOf(world), head, body);
  assert.deepEqual([heard.status, heard.ended], [413, 'closed']);
});

test('keeps the connection of a request without a body, and of one whose body was read', async (t) => {
  const world = await testServer(t);
  for (const [method, path, body] of [
    ['GET', '/v1/hosts', undefined],
    ['POST', '/v1/enrol', {}],
  ] as const) {
    const { status, headers } = await ask(world, method, path, { body });
    assert.ok(status >= 400);
    assert.notEqual(headers.get('connection'), 'close', path);
  }
});

/** A server that refuses whatever comes, and a connection to it with an upload under way that heard the answer. */
async function refused(t: TestContext, limits: { bytes: number; ms: number }): Promise<Socket> {
  const server = fastify();
  t.after(() => server.close());
  readOnAfterRefusal(server, limits);
  server.addContentTypeParser('*', async () => undefined);
  server.put('/', async (_request, reply) => reply.code(401).send('no'));
  await server.listen({ host: '127.0.0.1', port: 0 });
  const address = server.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = connect(address.port, address.address).on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.write('PUT / HTTP/1.1\r\nhost: x\r\ncontent-type: a/b\r\ncontent-length: 9999999999\r\n\r\n');
  const first = await new Promise((resolve) => socket.once('data', resolve));
  assert.match(String(first), /401[\s\S]*connection: close/i);
  return socket;
}

test('waits for a refused body no longer than the limit', async (t) => {
  const socket = await refused(t, { bytes: LARGE, ms: 100 });
  await new Promise((resolve) => socket.once('close', resolve));
});

test('reads no more of a refused body than the limit', async (t) => {
  const socket = await refused(t, { bytes: 2 ** 20, ms: 60_000 });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const more = setInterval(() => socket.write(Buffer.alloc(2 ** 18)), 5);
  await closed.finally(() => clearInterval(more));
  // What the kernels on the way took besides was not read.
  assert.ok(socket.bytesWritten < 64 * 2 ** 20, String(socket.bytesWritten));
});
