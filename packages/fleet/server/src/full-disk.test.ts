import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Runs a server whose data directory is a file system of its own, fills that, and prints what everyone is told. */
const SERVER = `
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { startServer } from ${JSON.stringify(new URL('./server.ts', import.meta.url).href)};
import { testServer, exampleReport } from ${JSON.stringify(new URL('./testing/world.ts', import.meta.url).href)};
import { ask, enrolled } from ${JSON.stringify(new URL('./testing/ask.ts', import.meta.url).href)};
const [directory] = process.argv.slice(1);
const world = await testServer({ after() {} }, { logLevel: 'silent', dataDir: directory + '/data' });
const host = await enrolled(world);
const fill = () => {
  for (const size of [65536, 512]) {
    try { for (let n = 0; ; n++) writeFileSync(directory + '/fill-' + size + '-' + n, Buffer.alloc(size, 1)); } catch {}
  }
};
const free = async () => { for (const size of [65536, 512]) for (let n = 0; n < 300000; n++) { try { rmSync(directory + '/fill-' + size + '-' + n); } catch { break; } } };
const seen = [];
const health = async () => seen.push((await ask(world, 'GET', '/healthz')).status);
await health();
fill();
await new Promise((resolve) => setTimeout(resolve, 2100));
const events = Array.from({ length: 300 }, (_, n) => ({ at: '2026-11-02T00:00:00Z', code: 'x', message: n + 'y'.repeat(1500) }));
const report = await ask(world, 'POST', '/v1/reports', { body: exampleReport(1, { events }), token: host.token });
seen.push(report.status, report.body.error?.code);
await health();
await world.server.close().catch(() => {});
const start = () => startServer({ dataDir: directory + '/data', host: '127.0.0.1', port: 0, logLevel: 'silent' }).then(
  async (server) => { await server.close(); return 'started'; }, (error) => error.code);
seen.push(await start());
mkdirSync(directory + '/never', { recursive: true });
seen.push(await startServer({ dataDir: directory + '/never', initialize: { offlineKeys: '/tmp' }, host: '127.0.0.1', port: 0 }).then(() => 'started', (error) => error.code));
await free();
seen.push(await start());
console.log(seen.join(' '));
process.exit(0);
`;

test('reports a full disk to hosts, load balancers and at the start', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-full-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const inside = ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=12m none "$1" && shift && exec "$@"', 'sh', directory];
  const probe = await run('unshare', [...inside, 'true']).catch((error: Error) => error);
  if (probe instanceof Error) {
    // A container may refuse them; CI and Debian's own kernels do not.
    t.skip(`no mount namespaces here: ${probe.message}`);
    return;
  }
  const program = [process.execPath, '--input-type=module', '--eval', SERVER, '--', directory];
  const { stdout } = await run('unshare', [...inside, ...program]);
  assert.equal(stdout.trim(), '200 507 disk-full 503 disk-full disk-full started');
});
