import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

/**
 * Connections as a host makes them: over IPv6, with an authority of the owner's own, through a proxy. Each client is a
 * process, since these settings are a process's.
 */
const run = promisify(execFile);
const source = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** Asks as a full turn does, then as an idle check does; prints what became of both. */
const CLIENT = `
import { trustCertificates } from ${source('certificates.ts')};
import { proxySettings } from ${source('../config/proxy.ts')};
import { useProxy } from ${source('../edges/proxy.ts')};
import { stillCurrent } from ${source('../fetcher/idle-request.ts')};
const { url, caFile, config } = JSON.parse(process.argv[1]);
await trustCertificates([url], caFile);
const proxy = proxySettings(config, {});
useProxy(proxy);
const full = await fetch(url).then((it) => it.status, (error) => error.cause?.code ?? error.message);
const idle = await stillCurrent({ url, etag: '"1"', proxy, caFile: caFile ?? null });
console.log(JSON.stringify({ full, idle }));
`;

let directory: string;
let caFile: string;
let url: string;
let address: string;
/** What the proxy was asked to connect to. */
let asked: string[];
let proxyUrl: string;
const servers: Server[] = [];

async function listen(server: Server, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmend-network-'));
  caFile = join(directory, 'ca.pem');
  const key = join(directory, 'key.pem');
  const subject = ['-subj', '/CN=kmend test', '-addext', 'subjectAltName=IP:::1,IP:127.0.0.1'];
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    ...subject,
    '-keyout',
    key,
    '-out',
    caFile,
  ]);
  const server = createServer({ key: await readFile(key), cert: await readFile(caFile) }, (request, response) => {
    response.writeHead(request.headers['if-none-match'] === '"1"' ? 304 : 200).end();
  });
  // A container may have no IPv6 at all.
  const v6 = Object.values(networkInterfaces()).some((list) => list?.some((it) => it.address === '::1'));
  address = v6 ? '::1' : '127.0.0.1';
  url = `https://${v6 ? '[::1]' : address}:${await listen(server, address)}/timestamp.json`;
  const proxy = createHttpServer().on('connect', (request, client) => {
    asked.push(request.url ?? '');
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = connect(Number(port), hostname.replace(/^\[|\]$/g, ''), () => {
      client.write('HTTP/1.1 200 Connected\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) socket.on('error', () => {});
  });
  proxyUrl = `http://127.0.0.1:${await listen(proxy, '127.0.0.1')}`;
});
after(async () => {
  for (const server of servers) server.close();
  await rm(directory, { recursive: true, force: true });
});

async function ask(settings: { caFile?: string; config?: object }): Promise<{ full: unknown; idle: boolean }> {
  asked = [];
  const words = JSON.stringify({ url, config: {}, ...settings });
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', CLIENT, '--', words]);
  return JSON.parse(stdout);
}

test('trusts an own certificate authority over IPv6 only where it is configured', async () => {
  assert.deepEqual(await ask({ caFile }), { full: 200, idle: true });
  assert.deepEqual(await ask({}), { full: 'DEPTH_ZERO_SELF_SIGNED_CERT', idle: false });
});

test('uses the proxy except for excluded addresses', async () => {
  assert.deepEqual(await ask({ caFile, config: { proxy: proxyUrl } }), { full: 200, idle: true });
  assert.deepEqual(asked, [new URL(url).host, new URL(url).host]);
  assert.deepEqual(await ask({ caFile, config: { proxy: proxyUrl, noProxy: address } }), { full: 200, idle: true });
  assert.deepEqual(asked, []);
  const refused = await ask({ caFile, config: { proxy: 'http://127.0.0.1:1' } });
  assert.deepEqual([refused.full === 200, refused.idle], [false, false]);
});
