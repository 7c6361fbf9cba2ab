import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { KmendError } from '@kmend/base';
import { code } from '../testing/errors.ts';
import { check, makeHost, never, type TestHost, view } from '../testing/host.ts';
import { moduleOf } from '../testing/repository.ts';
import { resume, revert } from './revert.ts';

const insmods = (host: TestHost): number => host.kernel.commands.filter((it) => it.startsWith('insmod')).length;

test('loads a chosen livepatch once and follows it through transition and soak to good', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  assert.deepEqual(await check(host.loader, never), { action: 'load', reason: null, chosen: 1, serial: 1 });
  assert.equal((await view(host)).exitCode, 0);
  assert.equal(await host.advance(1_000), 'soak');
  assert.equal(await host.advance(900_000), 'good');
  assert.equal((await check(host.loader, never)).reason, 'up-to-date');
  assert.equal(insmods(host), 1);
  const { status, effectiveSerial, exitCode } = await view(host);
  assert.equal(effectiveSerial, 1);
  assert.equal(exitCode, 0);
  assert.equal(status.verified.state, 'verified');
  assert.deepEqual(await readdir(host.kernel.path('/run/kmend-agent/loader')), ['claim', 'observed.json']);
});

test('writes the journal to disk before it asks the kernel', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  let onDisk = '';
  const load = host.kernel.load.bind(host.kernel);
  host.kernel.load = async (name) => {
    onDisk = JSON.parse(await readFile(host.kernel.path('/var/lib/kmend-agent/loader/journal.json'), 'utf8')).current
      .phase;
    await load(name);
  };
  await check(host.loader, never);
  assert.equal(onDisk, 'loading');
});

test('replaces the first cumulative livepatch with the second, and leaves exactly one module', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  host.repository.choose(2);
  await check(host.loader, never);
  assert.equal(await host.advance(5_000), 'soak');
  assert.equal((await view(host)).effectiveSerial, 2);
  const modules = await host.kernel.modules();
  assert.ok(modules.includes(moduleOf(2)) && !modules.includes(moduleOf(1)), modules);
});

test('quarantines what the kernel refuses with the kernel log, and retries only after resume', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.kernel.refusal = 'Invalid module format';
  await assert.rejects(check(host.loader, never), (error: Error) => {
    assert.match(error.message, /Invalid module format.*livepatch: failed to find it/);
    return code('load-refused')(error);
  });
  assert.equal((await view(host)).status.loaded.state, 'failed');
  for (let i = 0; i < 3; i += 1) assert.equal((await check(host.loader, never)).reason, 'quarantined');
  assert.equal(insmods(host), 1);
  host.kernel.refusal = undefined;
  await resume(host.loader);
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('keeps the livepatch in force when its replacement is refused', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  host.repository.choose(2);
  host.kernel.refusal = 'Invalid argument';
  await assert.rejects(check(host.loader, never), code('load-refused'));
  assert.equal(host.loader.store.journal.current?.serial, 1);
  const { effectiveSerial, exitCode } = await view(host);
  assert.equal(effectiveSerial, 1);
  assert.equal((await check(host.loader, never)).reason, 'quarantined');
  assert.equal(exitCode, 2);
});

for (const [name, obstacle, wanted] of [
  ['a foreign livepatch', (host: TestHost) => host.kernel.load('foreign'), 'conflict-livepatch'],
  [
    'another live patch system',
    (host: TestHost) => host.kernel.write('/proc/modules', 'kpatch_x 1 0 - Live 0x0\n'),
    'conflict-module',
  ],
  [
    'lockdown',
    (host: TestHost) => host.kernel.write('/sys/kernel/security/lockdown', 'none [integrity] confidentiality\n'),
    'lockdown',
  ],
  [
    'enforced signatures',
    (host: TestHost) => host.kernel.write('/sys/module/module/parameters/sig_enforce', 'Y\n'),
    'signature-required',
  ],
  [
    'another tracer',
    (host: TestHost) =>
      host.kernel.write('/sys/kernel/tracing/enabled_functions', 'ip_options_compile (1) R I     tramp: 0x0\n'),
    'conflict-ftrace',
  ],
  [
    'another kernel',
    async (host: TestHost) => {
      host.repository.buildIdOfManifest = 'cd'.repeat(20);
    },
    'wrong-kernel',
  ],
] as const) {
  test(`loads nothing because of ${name}, leaves the journal alone, and records one event`, async (t) => {
    const host = await makeHost(t);
    host.repository.choose(1);
    await obstacle(host);
    for (let i = 0; i < 3; i += 1) await assert.rejects(check(host.loader, never), code(wanted));
    assert.equal(insmods(host), 0);
    assert.equal(host.loader.store.journal.current, null);
    assert.deepEqual(
      host.loader.store.journal.events.map((it) => it.code),
      [wanted],
    );
    assert.equal(host.loader.observed.value.problem?.code, wanted);
  });
}

test('loads nothing while the disk is full, and continues by itself afterwards', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.kernel.beforeWrite = (path) => {
    if (path.endsWith('journal.json')) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  };
  await assert.rejects(check(host.loader, never), code('disk-full'));
  assert.equal(insmods(host), 0);
  host.kernel.beforeWrite = () => {};
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('catches up after the disk filled up during a load', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  let writes = 0;
  host.kernel.beforeWrite = (path) => {
    if (path.endsWith('journal.json') && ++writes > 1) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await assert.rejects(check(host.loader, never), code('disk-full'));
  assert.equal(host.loader.store.journal.current?.phase, 'loading');
  host.kernel.beforeWrite = () => {};
  assert.equal(await host.advance(1_000), 'soak');
});

for (const [words, wanted] of [
  ['Cannot allocate memory', 'memory-low'],
  ['Input/output error', 'disk-failing'],
  ['Read-only file system', 'disk-read-only'],
  ['No space left on device', 'disk-full'],
] as const) {
  test(`retries a load that fails for a reason of the host (${words}), without quarantine`, async (t) => {
    const host = await makeHost(t);
    host.repository.choose(1);
    await check(host.loader, never);
    await host.advance(1_000);
    host.repository.choose(2);
    host.kernel.refusal = words;
    await assert.rejects(check(host.loader, never), code(wanted));
    assert.equal(host.loader.observed.value.problem?.code, wanted);
    assert.deepEqual(host.loader.store.journal.quarantined, []);
    assert.equal((await view(host)).effectiveSerial, 1);
    host.kernel.refusal = undefined;
    assert.equal((await check(host.loader, never)).action, 'load');
    assert.equal(await host.advance(5_000), 'soak');
    assert.equal((await view(host)).effectiveSerial, 2);
  });
}

test('retries a load whose failure could not be journalled once there is space', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.kernel.refusal = 'Input/output error';
  let writes = 0;
  host.kernel.beforeWrite = (path) => {
    if (path.endsWith('journal.json') && ++writes > 1) throw Object.assign(new Error('broken'), { code: 'EIO' });
  };
  await assert.rejects(check(host.loader, never), code('disk-failing'));
  assert.equal(host.loader.store.journal.current?.phase, 'loading');
  host.kernel.beforeWrite = () => {};
  host.kernel.refusal = undefined;
  assert.equal(await host.advance(1_000), 'idle');
  assert.deepEqual(host.loader.store.journal.quarantined, []);
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('distinguishes a tool that cannot start from a refusal of the kernel', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const { edges } = host.loader;
  const run: typeof edges.run = (file, args, options) =>
    file.endsWith('/insmod')
      ? Promise.reject(new KmendError('tool-failed', 'insmod could not be started: EAGAIN'))
      : edges.run(file, args, options);
  await assert.rejects(check({ ...host.loader, edges: { ...edges, run } }, never), code('tool-failed'));
  assert.deepEqual(host.loader.store.journal.quarantined, []);
  assert.equal(host.loader.store.journal.current, null);
});

test('reports a long transition once with the tasks that block it, and never forces it', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.kernel.blocked = true;
  await host.kernel.write('/proc/7/task/7/patch_state', '0\n');
  await host.kernel.write('/proc/7/task/7/comm', 'sleepy\n');
  await host.kernel.write('/proc/7/task/7/stack', '[<0>] do_wait+0x1/0x2\n[<0>] kernel_wait4+0x1/0x2\n');
  await check(host.loader, never);
  assert.equal(await host.advance(200_000), 'transition');
  const stuck = host.loader.store.journal.events.filter((it) => it.code === 'transition-stuck');
  assert.equal(stuck.length, 1);
  assert.match(stuck[0]?.message ?? '', /sleepy \(7: do_wait < kernel_wait4\)/);
  const { exitCode, effectiveSerial } = await view(host);
  assert.equal(exitCode, 1);
  assert.equal(effectiveSerial, null);
  host.kernel.blocked = false;
  assert.equal(await host.advance(10_000), 'soak');
});

test('reverts the livepatch and holds until resume', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  assert.deepEqual(await revert(host.loader, false), { serial: 1 });
  assert.equal(await host.advance(5_000), 'idle');
  assert.ok(!(await host.kernel.modules()).includes('kmend_'));
  host.repository.choose(2);
  assert.equal((await check(host.loader, never)).reason, 'held');
  await resume(host.loader);
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('allows a newer serial after revert --until-newer', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await revert(host.loader, true);
  await host.advance(5_000);
  assert.equal((await check(host.loader, never)).reason, 'held');
  host.repository.choose(2);
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('reverses the transition when reverted in it, and keeps the previous livepatch', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  host.kernel.blocked = true;
  host.repository.choose(2);
  await check(host.loader, never);
  await revert(host.loader, true);
  host.kernel.blocked = false;
  assert.equal(await host.advance(5_000), 'soak');
  assert.equal((await view(host)).effectiveSerial, 1);
});

test('replaces a withdrawn livepatch, or reverts it while the fleet is halted', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(2);
  await check(host.loader, never);
  await host.advance(1_000);
  host.repository.choose(1, [2]);
  assert.equal((await check(host.loader, never)).action, 'load');
  await host.advance(5_000);
  assert.equal((await view(host)).effectiveSerial, 1);
  host.repository.choose(null, [1]);
  host.repository.fleet = { ...host.repository.fleet, halted: true };
  assert.equal((await check(host.loader, never)).action, 'revert');
  assert.equal(await host.advance(5_000), 'idle');
});

test('loads nothing new while halted', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.repository.fleet = { ...host.repository.fleet, halted: true };
  assert.equal((await check(host.loader, never)).reason, 'halted');
  assert.equal(insmods(host), 0);
});

test('does not reload a livepatch that an administrator disabled', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await host.kernel.drop(moduleOf(1));
  assert.equal(await host.advance(60_000), 'failed');
  assert.equal((await check(host.loader, never)).reason, 'quarantined');
});

test('reports a kernel without livepatch support, and one that is not covered', async (t) => {
  const host = await makeHost(t);
  await check(host.loader, never);
  assert.equal((await view(host)).exitCode, 3);
  host.repository.choose(1);
  const edges = host.loader.edges;
  const files = {
    ...edges.files,
    names: async (path: string) => (path.endsWith('/livepatch') ? undefined : edges.files.names(path)),
  };
  await assert.rejects(check({ ...host.loader, edges: { ...edges, files } }, never), code('kernel-without-livepatch'));
  assert.equal(insmods(host), 0);
});

test('loads nothing and records no problem when a check is interrupted while it fetches', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const stop = new AbortController();
  const { repository } = host.loader;
  const fetchLivepatch: typeof repository.fetchLivepatch = async (buildId, serial, signal) => {
    stop.abort();
    return repository.fetchLivepatch(buildId, serial, signal);
  };
  const loader = { ...host.loader, repository: { ...repository, fetchLivepatch } };
  await assert.rejects(check(loader, stop.signal), code('interrupted'));
  assert.equal(insmods(host), 0);
  assert.equal(loader.observed.value.problem, null);
});
