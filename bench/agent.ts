/**
 * `script/bench agent [--no-guest]`: what the agent costs a host between checks and at an idle check: memory, processor
 * time, traffic. Processor time is taken on this machine, natively, beside an empty program of the same Node; memory in
 * a guest, from the real units.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAgentPackage } from '@kmend/agent/deb';
import { bashArguments, run, runOk, systemClock } from '@kmend/base/node';
import { KERNEL, Operator, openLab, PatchedHost, SUITE } from '@kmend/harness';
import { build } from 'esbuild';
import { median } from './lib/measure.ts';

const ROUNDS = 15;
/** Of the idle check, as the agent's service starts it (packages/host/agent/src/deb/files/watch). */
const OPTIONS = ['--max-old-space-size=64', '--v8-pool-size=0'] as const;
const { values } = parseArgs({ options: { 'no-guest': { type: 'boolean', default: false } } });
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));

await idleCheck();
if (!values['no-guest']) await betweenChecks();

/** Processor time of one run in milliseconds, user and system, by the kernel's own account (times of the shell). */
async function processorMs(command: readonly string[]): Promise<number> {
  const script = '"$@" >/dev/null 2>&1; times';
  const { stdout } = await run('/bin/bash', bashArguments(script, ...command), { signal: stop.signal });
  const children = stdout.toString('utf8').trim().split('\n')[1] ?? '';
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
}

/** The program of the package, against a web server that answers 304 and counts every byte of the connection. */
async function idleCheck(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-bench-agent-'));
  const seen = { connections: 0, received: 0, sent: 0 };
  const server = createServer((socket: Socket) => {
    seen.connections += 1;
    socket.on('data', (data) => {
      seen.received += data.length;
      const answer = `HTTP/1.1 304 Not Modified\r\netag: "x"\r\ncache-control: no-cache\r\ndate: ${new Date().toUTCString()}\r\nconnection: keep-alive\r\n\r\n`;
      seen.sent += answer.length;
      socket.write(answer);
    });
    socket.on('error', () => {});
  });
  try {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { path } = await buildAgentPackage({ out: directory });
    await runOk(run, 'dpkg-deb', ['-x', path, join(directory, 'root')]);
    const node = join(directory, 'root/usr/lib/kmend-agent/node');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const state = {
      url: `http://127.0.0.1:${port}/repository/metadata/timestamp.json`,
      etag: '"abcdefghijklmnopqrstuv"',
      proxy: {},
      caFile: null,
    };
    const request = join(directory, 'request.mjs');
    // The very part of the idle check that talks, made as the package's programs are; the rest of it reads three small
    // files.
    const source = join(import.meta.dirname, '../packages/host/agent/src/fetcher/idle-request.ts');
    const contents = `import { stillCurrent } from '${source}'; process.exitCode = (await stillCurrent(${JSON.stringify(state)})) ? 0 : 1;`;
    const stdin = { contents, resolveDir: directory, loader: 'js' } as const;
    await build({
      stdin,
      bundle: true,
      outfile: request,
      platform: 'node',
      format: 'esm',
      target: 'node26',
      minifyWhitespace: true,
    });
    const idle = join(directory, 'root/usr/lib/kmend-agent/idle.mjs');
    const times = { empty: [] as number[], idle: [] as number[], request: [] as number[] };
    for (let round = 0; round < ROUNDS; round += 1) {
      stop.signal.throwIfAborted();
      times.empty.push(await processorMs([node, '-e', '0']));
      times.idle.push(await processorMs([node, ...OPTIONS, idle]));
      times.request.push(await processorMs([node, ...OPTIONS, request]));
    }
    const [empty, own, asking] = [median(times.empty), median(times.idle), median(times.request)];
    console.log(`idle check, processor time natively (median of ${ROUNDS}; at most 100 ms wanted):`);
    console.log(
      `  an empty program of the same Node ${empty.toFixed(0)} ms; deciding ${own.toFixed(0)} ms; with the request ${asking.toFixed(0)} ms (${(asking / empty).toFixed(1)} times the empty one)`,
    );
    const bytes = (seen.received + seen.sent) / seen.connections;
    console.log(
      `idle check, traffic: ${bytes.toFixed(0)} bytes of HTTP in one connection (at most 1,024 wanted; a TLS handshake comes on top)`,
    );
    if (asking > 100 || bytes > 1024) process.exitCode = 1;
  } finally {
    server.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the agent's units hold between checks, and while a livepatch is watched. */
async function betweenChecks(): Promise<void> {
  const operator = await Operator.make(stop.signal);
  const { lab, kernels } = openLab(operator.cache, stop.signal);
  const server = await operator.startServer();
  try {
    await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
    const host = await lab.boot(await kernels.open(KERNEL), {
      name: 'bench-agent',
      reachesOperator: true,
      fresh: true,
    });
    const patched = new PatchedHost(host, lab, operator, systemClock);
    await patched.install((await buildAgentPackage({ out: join(operator.home, 'deb') })).path);
    const { key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'bench');
    await patched.enrol(server, key);
    await host.check(['kmend-agent', 'check'], { timeoutMs: 180_000 });
    // Until the first turn of the service itself is over and the loader has left.
    await systemClock.sleep(45_000, stop.signal);
    const script = `for unit in kmend-agent kmend-loader kmend-agent-report; do
      for pid in $(cat /sys/fs/cgroup/system.slice/$unit.service/cgroup.procs 2>/dev/null); do
        awk -v unit=$unit '/^Name/ { name = $2 } /^VmRSS/ { print unit, name, $2 }' /proc/$pid/status
      done
    done`;
    const lines = (await host.check(script)).split('\n').filter((line) => line !== '');
    const total = lines.reduce((sum, line) => sum + Number(line.split(' ')[2]), 0) / 1024;
    console.log(
      `between checks, in the guest: ${total.toFixed(1)} MiB resident in ${lines.length} processes (at most 60 MB wanted)`,
    );
    for (const line of lines) console.log(`  ${line} kB`);
    if (total > 60 || lines.length === 0) process.exitCode = 1;
  } finally {
    await lab.close();
    await server.stop();
    await operator.remove();
  }
}
