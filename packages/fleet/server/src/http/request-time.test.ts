import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fastify } from 'fastify';
import { limitRequestTime } from './request-time.ts';

/** Whether the server ends the connection of a request whose body never comes within so many milliseconds. */
async function isEnded(t: TestContext, path: string, withinMs: number): Promise<boolean> {
  const server = fastify();
  t.after(() => server.close());
  limitRequestTime(server, 200);
  server.post('/usual', async () => 'ok');
  server.post('/long', { config: { requestTimeMs: 60_000 } }, async () => 'ok');
  await server.listen({ host: '127.0.0.1', port: 0 });
  const address = server.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = connect(address.port, address.address);
  socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{`);
  const closed = new Promise<true>((resolve) => socket.on('close', () => resolve(true)).on('error', () => undefined));
  const late = new AbortController();
  const ended = await Promise.race([closed, setTimeout(withinMs, false, { signal: late.signal })]);
  late.abort();
  socket.destroy();
  return ended;
}

test('closes the connection of a body that does not arrive, unless the route allows more time', async (t) => {
  assert.equal(await isEnded(t, '/usual', 30_000), true);
  assert.equal(await isEnded(t, '/long', 2000), false);
});
