import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Random } from '@kmend/base/testing';
import { TIMESTAMP_FILE } from '@kmend/trust/testing';
import type { Attack, Exchange, Settings } from './stage.ts';

/** Attacks on the way: no key is needed for them. */

type Answer = (exchange: Exchange) => void | Promise<void>;

const CHUNK = Buffer.alloc(65_536, 32);
/** What a bomb unpacks to; more than any bound of a client. */
const BOMB_BYTES = 96 * 2 ** 20;

const every = (answer: Answer): Attack => ({
  async answer(exchange) {
    await answer(exchange);
    return true;
  },
});

const where = (wanted: (path: string) => boolean, answer: Answer): Attack => ({
  async answer(exchange) {
    if (!wanted(exchange.path)) return false;
    await answer(exchange);
    return true;
  },
});

const onModule = (answer: Answer): Attack => where((path) => path.endsWith('.livepatch.ko'), answer);
const onTimestamp = (answer: Answer): Attack => where((path) => path === TIMESTAMP_FILE, answer);

/** The module is sent as `change` leaves it, with a length that fits. */
const changed = (change: (file: Buffer) => Buffer): Attack =>
  onModule(async ({ response, file }) => {
    const bytes = change((await file()) ?? Buffer.alloc(0));
    response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
  });

/** An answer that lasts for hours, until the other side gives up. */
function aside({ response }: Exchange, work: () => Promise<void>): void {
  response.on('error', () => undefined);
  work().catch((error: unknown) => response.destroy(error as Error));
}

const endless: Answer = (exchange) =>
  aside(exchange, async () => {
    while (!exchange.response.destroyed) if (!exchange.response.write(CHUNK)) await delay(1);
  });

const trickle: Answer = async (exchange) => {
  const { response, file } = exchange;
  const bytes = (await file()) ?? Buffer.alloc(1000);
  response.writeHead(200, { 'content-length': bytes.length });
  aside(exchange, async () => {
    for (let at = 0; at < bytes.length && !response.destroyed; at++) {
      response.write(bytes.subarray(at, at + 1));
      await delay(1000, undefined, { ref: false });
    }
  });
};

function bomb(): Answer {
  const packed = gzipSync(Buffer.alloc(BOMB_BYTES), { level: 9 });
  return ({ response }) => {
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed);
  };
}

const status =
  (code: number): Answer =>
  ({ response }) => {
    response.writeHead(code, { 'retry-after': '1' }).end();
  };

/** Written past Node's own server, which would not let this through. */
const promise =
  (length: (bytes: Buffer) => number): Answer =>
  async ({ response, file }) => {
    const bytes = (await file()) ?? Buffer.alloc(0);
    response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length(bytes)}\r\nconnection: close\r\n\r\n`);
    response.socket?.end(bytes);
  };

export function noise(seed: number, path: string, length: number): Buffer {
  const random = new Random(seed ^ createHash('sha256').update(path).digest().readUInt32LE());
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

export const TRANSPORT = {
  'arbitrary-installation': ({ seed }: Settings) => changed((file) => noise(seed, 'module', file.length)),
  'endless-metadata': () => onTimestamp(endless),
  'endless-artifact': () => onModule(endless),
  'slow-headers': () => every(() => undefined),
  'slow-metadata': () => every(trickle),
  'slow-artifact': () => onModule(trickle),
  'truncated-artifact': () => changed((file) => file.subarray(0, file.length / 2)),
  'empty-artifact': () => changed(() => Buffer.alloc(0)),
  'bit-flip': ({ seed }: Settings) =>
    changed((file) => {
      const random = new Random(seed);
      const at = random.below(file.length);
      file.writeUInt8(file.readUInt8(at) ^ (1 << random.below(8)), at);
      return file;
    }),
  'connection-reset': () =>
    onModule(async ({ response, file }) => {
      const bytes = (await file()) ?? Buffer.alloc(0);
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, bytes.length / 2), () => response.socket?.resetAndDestroy());
    }),
  'redirect-loop': () =>
    every(({ request, response }) => void response.writeHead(302, { location: request.url }).end()),
  'server-error': () => every(status(500)),
  unavailable: () => every(status(503)),
  'login-page': () =>
    every(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Sign in</title>');
    }),
  'gzip-bomb': () => onTimestamp(bomb()),
  'gzip-bomb-artifact': () => onModule(bomb()),
  'content-length-too-long': () => every(promise((bytes) => bytes.length + 1000)),
  'content-length-too-short': () => every(promise((bytes) => Math.floor(bytes.length / 2))),
  'empty-file': () => every(({ response }) => void response.writeHead(200, { 'content-length': 0 }).end()),
  'huge-headers': () =>
    every(({ response }) => void response.writeHead(200, { 'x-more': 'x'.repeat(2 ** 20) }).end('{}')),
} as const satisfies Record<string, (settings: Settings) => Attack>;
