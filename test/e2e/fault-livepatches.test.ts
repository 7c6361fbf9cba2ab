import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KmendError } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { type BuiltLivepatch, HostileMirror, ownerOf } from '@kmend/campaign';
import * as faults from '@kmend/campaign/livepatches';
import { KERNEL, Operator, openLab, SUITE } from '@kmend/harness';
import { codeInForce, complaints, type GuestModule, type Host, LivepatchControl, ProofFailure } from '@kmend/lab';

/**
 * The livepatches that misbehave on purpose (packages/tools/campaign), each loaded by hand on the real kernel: they do
 * what they say, and nothing else.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
/** Seconds that the lab waits for a transition: more than the 15 after which the kernel itself nudges tasks. */
const PATIENCE = 18;
/** Seconds until the late panic, here. */
const LATER = 6;
let host: Host;
let control: LivepatchControl;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  host = await lab.boot(await kernels.open(KERNEL), { name: 'faults', reachesOperator: true });
  control = new LivepatchControl(host, PATIENCE);
});
after(async () => {
  await lab.close();
  await operator.remove();
});

async function bring({ file, module }: BuiltLivepatch): Promise<GuestModule> {
  const path = `/root/${module}.ko`;
  await host.copyIn(file, path);
  return { name: module, path };
}

async function remove(module: GuestModule): Promise<void> {
  await control.revert(module);
  await control.unload(module);
}

/** What the kernel logs while `work` runs. */
async function logged(work: () => Promise<unknown>): Promise<string> {
  const before = (await host.kernelLog()).split('\n').length;
  await work();
  return (await host.kernelLog()).split('\n').slice(before).join('\n');
}

/** Loads it and waits for the panic: what the console showed. */
async function panics(work: () => Promise<unknown>): Promise<string> {
  let shown = '';
  await assert.rejects(work(), (error) => {
    assert.ok(error instanceof KmendError);
    assert.equal(error.code, 'lab-guest-panic', String(error));
    shown = String(error.details?.['console']);
    return true;
  });
  return shown;
}

test('shows which good livepatch is in force, in vmlinux and in a reloaded module', async () => {
  const [first, second] = [await faults.good(operator, 1), await faults.good(operator, 2)];
  assert.notEqual(first.manifest.id, second.manifest.id);
  assert.deepEqual(first.manifest.objects.map(({ name }) => name).sort(), [faults.PATCHED_MODULE, 'vmlinux']);
  assert.deepEqual(await faults.goodInForce(host), { vmlinux: undefined, module: undefined });
  await host.check(faults.MODULE_CHURN.start);
  const loaded = await bring(first);
  const replacing = await bring(second);
  await control.load(loaded);
  await control.load(replacing);
  await control.unload(loaded);
  await host.check(faults.MODULE_CHURN.stop);
  assert.equal((await host.run("pgrep -f '[w]hile :; do modprobe'")).exitCode, 1);
  assert.deepEqual(await faults.goodInForce(host), { vmlinux: 2, module: 2 });
  await host.check(['rmmod', faults.PATCHED_MODULE]);
  assert.deepEqual(await faults.goodInForce(host), { vmlinux: 2, module: 2 });
  await remove(replacing);
  assert.deepEqual(await faults.goodInForce(host), { vmlinux: undefined, module: undefined });
});

test('delivers misbehaving livepatches to a guest through the hostile mirror', async () => {
  const server = await operator.startServer();
  const mirror = await HostileMirror.start(ownerOf(operator.home, systemClock));
  try {
    for (const serial of [1, 2]) {
      const { directory } = await faults.good(operator, serial);
      assert.equal((await operator.kmend<{ serial: number }>('publish', directory, '--unproven')).serial, serial);
      // The owner signs on behind the server's back meanwhile; the server takes it from there.
      await mirror.be('rollback');
    }
    const { directory } = await faults.panicsOnLoad(operator);
    assert.equal((await operator.kmend<{ serial: number }>('publish', directory, '--unproven')).serial, 3);
    mirror.beHonest();
    const { hostname, port } = new URL(mirror.guestUrl);
    const ask = `exec 3<>/dev/tcp/${hostname}/${port}; printf 'GET /metadata/timestamp.json HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    assert.match(await host.check(['bash', '-c', ask]), /^HTTP\/1\.1 200 OK\r\n[\s\S]*"_type":"timestamp"/);
    await mirror.be('login-page');
    assert.match(await host.check(['bash', '-c', ask]), /<title>Sign in/);
    assert.equal(mirror.answered, 1);
  } finally {
    await mirror.close();
    await server.stop();
  }
});

test('warns whenever a user reads a file, and the warning names the livepatch', async () => {
  const livepatch = await faults.warnsInPatched(operator);
  const ask = (): Promise<string> => host.check(livepatch.trigger, { user: 'nobody' });
  assert.deepEqual(complaints(await logged(ask)), [], 'harmless on the stock kernel');
  const module = await bring(livepatch);
  await control.load(module);
  for (const _ of [1, 2]) {
    const log = await logged(ask);
    assert.match(log, new RegExp(`WARNING: CPU: \\d .*execdomains_proc_show.* \\[${module.name}\\]`));
    assert.match(log, new RegExp(faults.SAYS.warning));
  }
  await remove(module);
  assert.deepEqual(complaints(await logged(ask)), []);
});

test('blocks a transition on a stopped process and ends with it', async () => {
  const livepatch = await faults.neverEnds(operator);
  const module = await bring(livepatch);
  const inTransition = (): Promise<string> => host.check(['cat', `/sys/kernel/livepatch/${module.name}/transition`]);
  await host.check(livepatch.hold);
  await assert.rejects(control.load(module), (error) => {
    assert.ok(error instanceof ProofFailure);
    const [, blocker, ...others] = error.details;
    assert.match(blocker ?? '', new RegExp(`^${livepatch.task} \\(\\d+\\): ${livepatch.function} `));
    assert.deepEqual(others, []);
    return true;
  });
  assert.equal(await inTransition(), '1');
  await host.check(livepatch.release);
  await host.check(
    `for i in $(seq 50); do grep -q 0 /sys/kernel/livepatch/${module.name}/transition && exit; sleep 0.1; done; exit 1`,
  );
  assert.equal((await codeInForce(host, livepatch.function)).livepatch, module.name);
  await remove(module);

  await host.check(livepatch.hold);
  await host.check(['insmod', module.path]);
  await host.check(['sleep', '2']);
  assert.equal(await inTransition(), '1');
  await remove(module);
  await host.check(livepatch.release);
});

test('reboots a host after a late panic if it is configured to', async () => {
  const module = await bring(await faults.panicsLater(operator, LATER));
  const load = `cut -d" " -f1 /proc/uptime; insmod ${module.path} && cut -d" " -f1 /proc/uptime`;
  let times: readonly number[] = [];
  await host.rebootBy(async () => {
    await host.check('echo 1 >/proc/sys/kernel/panic');
    times = (await host.check(load)).split('\n').map(Number);
    await host.check(['sleep', '60']);
  });
  const [begin = Number.NaN, loaded = Number.NaN] = times;
  const panic = new RegExp(`\\[ *([\\d.]+)\\] Kernel panic - not syncing: ${faults.SAYS.panicsLater}`).exec(
    host.console(),
  );
  const at = Number(panic?.[1]);
  assert.ok(at >= begin + LATER && at < loaded + LATER + 5, `loaded from ${begin} to ${loaded} s, panic at ${at} s`);
  const shown = host.console().slice(panic?.index);
  assert.match(shown, new RegExp(`update_process_times.* \\[${module.name}\\]`));
});

// After the panic: an oops marks the kernel (taint D), and its panics come without a call trace (kernel/panic.c).
test('kills the reader of a file with an oops, and the host continues', async () => {
  const livepatch = await faults.oopsesInPatched(operator);
  const module = await bring(livepatch);
  await control.load(module);
  const log = await logged(async () => {
    assert.equal((await host.run(livepatch.trigger, { user: 'nobody' })).exitCode, 137);
  });
  assert.match(log, new RegExp(faults.SAYS.oops));
  assert.match(log, new RegExp(`RIP: .*execdomains_proc_show.* \\[${module.name}\\]`));
  await remove(module);
  await host.check(livepatch.trigger, { user: 'nobody' });
});

test('panics while it is being loaded', async () => {
  assert.equal(await host.check('cat /proc/sys/kernel/panic'), '0');
  const module = await bring(await faults.panicsOnLoad(operator));
  const shown = await panics(() => host.check(['insmod', module.path]));
  assert.match(shown, new RegExp(`Kernel panic - not syncing: ${faults.SAYS.panicsOnLoad}`));
});
