import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode, errorText } from '@kmend/base';
import { z } from 'zod';
import { exchange } from './http.ts';

async function answered(status: number, body: string, headers: Record<string, string> = {}): Promise<string> {
  const request = {
    method: 'GET',
    url: 'https://patch.example.org/v1/hosts',
    token: 'kmo_token',
    signal: new AbortController().signal,
    timeoutMs: 1000,
  } as const;
  const fetch = async () => new Response(body, { status, headers });
  return exchange(fetch, request, z.unknown()).then(
    () => 'done',
    (error: unknown) => `${errorCode(error)}: ${errorText(error)}`,
  );
}

test('distinguishes a proxy’s answer from the server’s', async () => {
  const page = '<html>nginx</html>';
  assert.match(await answered(407, page), /^proxy-refused: .*requires a user name and a password \(status 407\)$/);
  assert.match(await answered(413, page), /^proxy-refused: .*rejects a body of this size/);
  assert.match(await answered(429, page, { 'retry-after': '30' }), /^proxy-refused: .*it asks to wait 30 s$/);
  assert.match(await answered(429, page, { 'retry-after': '\u009b31m' }), /\(status 429\)$/);
  for (const status of [502, 503, 504]) assert.match(await answered(status, page), /^server-unreachable: /);
  assert.match(await answered(418, page), /^server-garbage: /);
});

test('passes on the code and message of the server', async () => {
  const body = JSON.stringify({ error: { code: 'rate-limited', message: 'try again in 2 s' } });
  assert.equal(await answered(429, body), 'rate-limited: try again in 2 s');
});
