import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fastify } from 'fastify';
import { limitRequestTime } from './request-time.ts';

/** Milliseconds until the connection of a request whose body never comes is ended, at most 2 s. */
async function waited(t: TestContext, path: string): Promise<number> {
  const server = fastify();
  t.after(() => server.close());
  limitRequestTime(server, 200);
  server.post('/usual', async () => 'ok');
  server.post('/long', { config: { requestTimeMs: 60_000 } }, async () => 'ok');
  await server.listen({ host: '127.0.0.1', port: 0 });
  const address = server.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = connect(address.port, address.address);
  const begun = performance.now();
  socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{`);
  const closed = new Promise((resolve) => socket.on('close', resolve).on('error', () => undefined));
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2000))]);
  socket.destroy();
  return performance.now() - begun;
}

test('closes the connection of a body that does not arrive, unless the route allows more time', async (t) => {
  assert.ok((await waited(t, '/usual')) < 1900);
  assert.ok((await waited(t, '/long')) >= 1900);
});
