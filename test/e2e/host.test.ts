import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildAgentPackage } from '@kmend/agent/deb';
import { systemClock } from '@kmend/base/node';
import {
  AGENT_HOST,
  agentInstalled,
  FIXES,
  importFixes,
  KERNEL,
  MORE,
  Operator,
  openLab,
  PatchedHost,
  type ServerProcess,
  SUITE,
} from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';
import { LONG_FORM } from '../lib/long-form.ts';

/**
 * One stock host from its first enrolment to a power cut, with a real server and real livepatches. Tests continue where
 * the last one ended.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
const [routing, aead] = FIXES;
let server: ServerProcess;
let patched: PatchedHost;

interface AgentAnswer {
  readonly exitCode: number;
  readonly code: string | undefined;
  readonly text: string;
}

/**
 * Runs `kmend-agent ... --json` in the guest; once more, as the agent's hint says, while its service has a turn of its
 * own.
 */
async function agent(...args: string[]): Promise<AgentAnswer> {
  const ask = async (): Promise<AgentAnswer> => {
    const { exitCode, stdout, stderr } = await patched.host.run(['kmend-agent', ...args, '--json'], {
      timeoutMs: 600_000,
    });
    return { exitCode, code: /"code": "([a-z-]+)"/.exec(stdout)?.[1], text: `${stdout}${stderr}` };
  };
  const answer = await ask();
  return answer.code === 'busy' ? await ask() : answer;
}

/** What the two flaws with a visible effect look like in the guest. */
async function flaws(): Promise<string[]> {
  return [await patched.reproduce(routing.id), await patched.reproduce(aead.id)];
}

async function build(name: string, ...ids: string[]): Promise<Livepatch> {
  return await operator.kmend<Livepatch>(
    'build',
    '--kernel',
    KERNEL,
    '--fix',
    ...ids,
    '--out',
    join(operator.home, name),
  );
}

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args), [...FIXES, MORE]);
  server = await operator.startServer();
  await operator.kmend('policy', 'fleet', '--check-interval', '86400');
  const preparation = await agentInstalled((await buildAgentPackage({ out: join(operator.home, 'deb') })).path);
  const host = await lab.boot(await kernels.open(KERNEL), { ...AGENT_HOST, name: 'patched', preparation });
  patched = new PatchedHost(host, lab, operator, systemClock);
});
after(async () => {
  await lab.close();
  await server?.stop();
  await operator.remove();
});

test('serves only root, and does nothing before enrolment', async () => {
  const asNobody = await patched.host.run(['kmend-agent', 'status', '--json'], { user: 'nobody', timeoutMs: 600_000 });
  assert.equal(asNobody.exitCode, 5);
  assert.match(asNobody.stdout, /not-root/);
  assert.deepEqual([(await agent('check')).code], ['not-enrolled']);
});

test('refuses to enrol with a wrong or an expired key', async () => {
  const expired = await operator.kmend<{ key: string }>('key', 'create', '--name', 'old', '--expires', '2020-01-01');
  for (const key of ['kmend-aaaaa-aaaaa-aaaaa-aaaaa-aaaaa', expired.key]) {
    await assert.rejects(patched.enrol(server, key), /key-refused/);
  }
  assert.equal((await agent('check')).code, 'not-enrolled');
});

test('reports not-covered after enrolment when nothing is published', async () => {
  const { key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'lab', '--seats', '1');
  // Regular checks are a day apart here: each test asks for its own. The soak is over at once.
  await patched.enrol(server, key, { soakSeconds: 1 });
  const checked = await agent('check');
  assert.equal(checked.exitCode, 0, checked.text);
  const status = await agent('status');
  assert.equal(status.exitCode, 3, status.text);
  assert.deepEqual(await flaws(), ['vulnerable', 'vulnerable']);
});

test('patches the module object although it was loaded before the livepatch', async () => {
  await patched.host.check('modprobe af_alg && test -d /sys/module/af_alg');
  const first = await build('one', ...FIXES.map(({ id }) => id));
  await operator.kmend('publish', join(operator.home, 'one'), '--unproven');
  const checked = await agent('check');
  assert.equal(checked.exitCode, 0, checked.text);
  const detail = await patched.untilReported(1);
  assert.equal(detail.status.verified.state, 'verified');
  assert.deepEqual(await flaws(), ['fixed', 'fixed']);
  assert.deepEqual(await patched.modulesAfterUnload(), [first.module]);
  assert.deepEqual(await patched.complaints(), []);
});

test('reverts on revert, and loads again on resume', async () => {
  const reverted = await agent('revert');
  assert.equal(reverted.exitCode, 0, reverted.text);
  assert.deepEqual([await patched.loadedModules(), await flaws()], [[], ['vulnerable', 'vulnerable']]);
  assert.equal((await agent('resume')).exitCode, 0);
  assert.equal((await agent('check')).exitCode, 0);
  assert.deepEqual(await flaws(), ['fixed', 'fixed']);
});

test('patches a module that is loaded after the livepatch', async () => {
  await patched.host.check(
    'modprobe -r algif_aead algif_hash algif_skcipher algif_rng af_alg; test ! -d /sys/module/af_alg',
  );
  assert.equal(await patched.reproduce(aead.id), 'fixed');
  await patched.host.check('test -d /sys/module/af_alg');
  assert.deepEqual(await patched.complaints(), []);
});

test('replaces the first cumulative livepatch with a second', async () => {
  const before = await patched.host.bootId();
  const second = await build('two', ...FIXES.map(({ id }) => id), MORE.id);
  await operator.kmend('publish', join(operator.home, 'two'), '--unproven');
  assert.equal((await agent('check')).exitCode, 0);
  await patched.untilReported(2);
  assert.deepEqual(await patched.modulesAfterUnload(), [second.module]);
  assert.deepEqual([await flaws(), await patched.host.bootId()], [['fixed', 'fixed'], before]);
});

test('re-applies the livepatch after a reboot, without the server', LONG_FORM, async () => {
  const before = await patched.host.bootId();
  await server.stop();
  await patched.host.reboot();
  assert.notEqual(await patched.host.bootId(), before);
  assert.equal((await patched.loadedModules()).length, 1);
  assert.deepEqual(await flaws(), ['fixed', 'fixed']);
});

test('distinguishes a server that is down from one that answers garbage, and changes nothing', async () => {
  await server.stop();
  const down = await agent('check');
  assert.deepEqual([down.exitCode, down.code], [5, 'repository-unreachable'], down.text);
  const garbage = await listen(server.port, (_request, response) => response.end('<html>log in here</html>'));
  try {
    const answer = await agent('check');
    assert.equal(answer.exitCode, 5, answer.text);
    assert.match(answer.code ?? '', /^repository-(?:garbage|unsigned)$/);
  } finally {
    await close(garbage);
  }
  assert.deepEqual(await flaws(), ['fixed', 'fixed']);
});

test('does not load a module that was tampered with on the server', async () => {
  server = await operator.startServer('--port', String(server.port));
  const third = await build('three', FIXES[0].id, MORE.id);
  await operator.kmend('publish', join(operator.home, 'three'), '--unproven');
  const targets = join(operator.home, 'server', 'repository', 'targets', 'kernels', third.kernel.buildId, '3');
  const name = (await readdir(targets)).find((entry) => entry.endsWith('.ko'));
  assert.ok(name !== undefined);
  const path = join(targets, name);
  const good = await readFile(path);
  const bad = Buffer.from(good);
  bad[1000] = (bad[1000] ?? 0) ^ 1;
  await writeFile(path, bad);
  const before = await patched.loadedModules();
  const refused = await agent('check');
  assert.deepEqual([refused.exitCode, refused.code], [5, 'repository-mismatch'], refused.text);
  assert.deepEqual(await patched.loadedModules(), before);
  await writeFile(path, good);
  assert.equal((await agent('check')).exitCode, 0);
  // The third has one fix less than the second: what it dropped is not in force any more.
  assert.deepEqual(await flaws(), ['fixed', 'vulnerable']);
});

test('removes a withdrawn livepatch from the host', async () => {
  await operator.kmend('policy', 'kernel', KERNEL, '--withdraw', '3', '--reason', 'drops a fix');
  await operator.kmend('policy', 'kernel', KERNEL, '--settle', '2');
  assert.equal((await agent('check')).exitCode, 0);
  await patched.untilReported(2);
  assert.deepEqual(await flaws(), ['fixed', 'fixed']);
  assert.deepEqual(await patched.complaints(), []);
});

async function listen(port: number, answer: Parameters<typeof createServer>[1]): Promise<Server> {
  const fake = createServer(answer);
  await new Promise<void>((resolve, reject) => fake.once('error', reject).listen(port, '127.0.0.1', resolve));
  return fake;
}

async function close(fake: Server): Promise<void> {
  fake.closeAllConnections();
  await new Promise((resolve) => fake.close(resolve));
}
