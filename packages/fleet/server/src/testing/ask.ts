import assert from 'node:assert/strict';
import { errorCode } from '@kmend/base';
import { exampleFacts, type TestServer } from './world.ts';

export function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { readonly error?: { readonly code: string }; readonly [name: string]: unknown };
}

export async function ask(
  { server }: TestServer,
  method: string,
  path: string,
  { body, token }: { readonly body?: unknown; readonly token?: string | undefined } = {},
): Promise<Reply> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
}

export const enrol = (world: TestServer, activationKey: string, hostname = 'web-1') =>
  ask(world, 'POST', '/v1/enrol', { body: { activationKey, facts: exampleFacts(hostname) } });

export async function enrolled(world: TestServer): Promise<{ hostId: string; token: string }> {
  const { key } = await world.api.createKey({ name: 'k', channel: 'stable', seats: null, expires: null });
  const { body } = await enrol(world, key);
  return { hostId: String(body['hostId']), token: String(body['token']) };
}
