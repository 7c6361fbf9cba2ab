import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { nodeEdges } from '../edges/node.ts';
import { code } from '../testing/errors.ts';
import { post } from './http.ts';
import { attentive } from './patience.ts';

const answer = z.object({ ok: z.literal(true) });

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const ask = (url: string, timeoutMs = 5_000) =>
  post(nodeEdges(), { url, body: {}, token: 'sesame', answer, timeoutMs });

test('sends the token as a bearer, and returns a good answer', async (t) => {
  const url = await serve(t, (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer sesame');
    response.end('{"ok":true}');
  });
  assert.deepEqual(await ask(url), { ok: true });
});

test('reports a server that is down', async () => {
  await assert.rejects(ask('http://127.0.0.1:1/'), code('server-unreachable'));
});

test('reports a server that is slow, before its answer and in the middle of it', async (t) => {
  await assert.rejects(ask(await serve(t, () => {}), 100), code('server-slow'));
  const trickle = await serve(t, (_, response) => void response.write('{'));
  await assert.rejects(ask(trickle, 100), code('server-slow'));
});

for (const [name, listener] of [
  ['a page', (_, response) => response.end('<html>')],
  ['another document', (_, response) => response.end('{"ok":1}')],
  ['an error page', (_, response) => response.writeHead(500).end('{}')],
  ['an endless answer', (_, response) => void response.end(Buffer.alloc(1_000_000, 32))],
] as const satisfies readonly (readonly [string, RequestListener])[]) {
  test(`rejects an answer with ${name}`, async (t) => {
    await assert.rejects(ask(await serve(t, listener)), code('server-garbage'));
  });
}

test('does not follow a redirect, which could leak the token', async (t) => {
  let seen = 0;
  const elsewhere = await serve(t, (_, response) => {
    seen += 1;
    response.end('{"ok":true}');
  });
  await assert.rejects(
    ask(await serve(t, (_, response) => response.writeHead(307, { location: elsewhere }).end())),
    code('server-unreachable'),
  );
  assert.equal(seen, 0);
});

test('keeps the code and hint of a refusal, and reports a gateway that is down as unreachable', async (t) => {
  const error = { code: 'seats-exhausted', message: 'no seat left', hint: 'buy one' };
  await assert.rejects(ask(await serve(t, (_, response) => response.writeHead(403).end(JSON.stringify({ error })))), {
    code: 'server-refused',
    hint: 'buy one',
    details: { server: 'seats-exhausted', status: 403 },
  });
  await assert.rejects(
    ask(await serve(t, (_, response) => response.writeHead(503).end('busy'))),
    code('server-unreachable'),
  );
});

test('names a refusal by a proxy or a rate limit by its status', async (t) => {
  const status = async (code: number): Promise<string> =>
    serve(t, (_, response) => response.writeHead(code).end('<html>no</html>'));
  await assert.rejects(ask(await status(429)), code('server-busy'));
  await assert.rejects(ask(await status(413)), { code: 'server-refused', message: /request of 2 bytes \(HTTP 413\)/ });
  const edges = { ...nodeEdges(), ...attentive(fetch, nodeEdges().clock) };
  await assert.rejects(post(edges, { url: await status(407), body: {}, answer }), {
    code: 'server-unreachable',
    message: /user and a password/,
  });
  const error = { code: 'rate-limited', message: 'too many requests' };
  const own = await serve(t, (_, response) => response.writeHead(429).end(JSON.stringify({ error })));
  await assert.rejects(ask(own), { code: 'server-busy', message: /too many requests \[rate-limited\]/ });
});
