import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode, KmendError } from '@kmend/base';
import { places, sha256 } from '@kmend/base/node';
import { openLab } from '@kmend/harness';
import type { Kernel } from '@kmend/kernel';
import { codeInForce, complaints, exerciseAreas, type Host, OPERATOR_ADDRESS } from '@kmend/lab';

const RELEASE = '6.1.0-47-amd64';
const AREAS = (
  'bpf cgroup cipher core disk futex hash huge io_uring ipv4 ipv6 keys loop memory netlink packet pipe posix pressure proc process route seldom signal ' +
  'sysv tmpfs trace unix user userfault'
).split(' ');
const cache = places().cache;
const signal = new AbortController().signal;
const { lab, kernels } = openLab(cache, signal);
let kernel: Kernel;
let host: Host;

before(async () => {
  kernel = await kernels.add(`bookworm/${RELEASE}`);
  host = await lab.boot(kernel, { name: 'lab-test', forwards: [8080] });
});
after(() => lab.close());

test('runs the stock kernel, whose modules can be loaded', async () => {
  assert.equal(await host.check('uname -r'), RELEASE);
  assert.equal(await host.check('systemctl is-system-running'), 'running');
  await host.check('modprobe af_alg');
  const notes = sha256(await host.readFile('/sys/kernel/notes'));
  assert.equal(notes, await host.check('sha256sum /sys/kernel/notes | cut -d" " -f1'));
  assert.match(await host.kernelLog(), new RegExp(`Linux version ${RELEASE}`));
});

test('shares only the boot between a restored host and others', async (t) => {
  const { accelerator } = await lab.accelerator(kernel);
  // Under KVM a boot takes about a second, and nothing is saved or restored: there is no such host to look at.
  if (accelerator === 'kvm') return t.skip('hosts boot under KVM');
  const other = await lab.boot(kernel, { name: 'lab-other', forwards: [8080] });
  try {
    assert.deepEqual([host.restored, other.restored], [true, true]);
    assert.equal(await other.bootId(), await host.bootId());
    const own = ['hostname', 'cat /etc/machine-id', 'head -c 16 /dev/urandom | od -An -tx1'];
    for (const command of own) assert.notEqual(await other.check(command), await host.check(command), command);
    assert.equal(await other.check('hostname'), 'lab-other');
    assert.ok(Math.abs(Number(await other.check('date +%s')) - Date.now() / 1000) < 10);
    // The journal continues under the new machine id, and is whole.
    await other.check('logger -t lab-test after');
    const journal = await other.check('journalctl --sync; journalctl --no-pager -o cat');
    assert.match(journal, new RegExp(`Linux version ${RELEASE}`));
    assert.match(journal, /^after$/m);
    // What was written is whole. The file in use is closed first: journald writes to it while it is looked at.
    await other.check('journalctl --rotate');
    const closed = '/run/log/journal/*/*@* /var/log/journal/*/*@*';
    await other.check(
      `for file in $(ls -d ${closed} 2>/dev/null); do journalctl --verify --file="$file" || exit 1; done`,
    );
    assert.match(
      await other.check(`journalctl --no-pager -o cat $(ls -d ${closed} 2>/dev/null | sed s/^/--file=/)`),
      /^after$/m,
    );
    assert.notEqual(other.forwards.get(8080), host.forwards.get(8080));
  } finally {
    await other.powerOffHard();
  }
});

test('returns exit code, output and signals of commands, and kills a slow one', async () => {
  const result = await host.run('echo out; echo err >&2; exit 3');
  assert.deepEqual(result, { exitCode: 3, stdout: 'out\n', stderr: 'err\n' });
  assert.equal((await host.run(['cat'], { stdin: 'grün' })).stdout, 'grün');
  assert.equal(await host.check(['id', '-u'], { user: 'nobody' }), '65534');
  assert.equal((await host.run(['sh', '-c', 'kill -SEGV $$'])).exitCode, 139);
  const slow = host.run('sleep 987 & wait', { timeoutMs: 1000 });
  await assert.rejects(slow, (error) => errorCode(error) === 'lab-command-timeout');
  assert.equal((await host.run(['pgrep', '-f', 'sleep 98[7]'])).exitCode, 1);
  await assert.rejects(host.check('exit 4'), (error) => errorCode(error) === 'lab-command-failed');
});

test('finds where the processors are without asking the guest', async () => {
  const busy = host.run('sha256sum /dev/zero', { timeoutMs: 4000 });
  busy.catch(() => {});
  const seen = new Set<bigint>();
  for (let look = 0; look < 20; look++) {
    const addresses = await host.processors();
    assert.equal(addresses.length, 2);
    for (const address of addresses) seen.add(address);
  }
  assert.ok(seen.size > 2, 'the guest continues between two looks');
  await assert.rejects(busy, (error) => errorCode(error) === 'lab-command-timeout');
});

test('copies files whole, small and large, or not at all', async () => {
  for (const size of [0, 1000, 5_000_000]) {
    const bytes = randomBytes(size);
    await host.copyIn(bytes, '/root/sub/file', 0o750);
    assert.equal(await host.check('sha256sum /root/sub/file | cut -d" " -f1'), sha256(bytes));
    assert.equal(await host.check('stat -c %a /root/sub/file'), '750');
  }
  await host.check('mkdir -p /root/small && mount -t tmpfs -o size=1m tmpfs /root/small');
  const tooLarge = host.copyIn(randomBytes(3_000_000), '/root/small/file');
  await assert.rejects(tooLarge, (error) => errorCode(error) === 'lab-copy-failed');
  assert.equal(await host.check('ls -A /root/small'), '');
  await host.copyIn(randomBytes(600_000), '/root/small/file');
  await assert.rejects(host.readFile('/nowhere'), (error) => errorCode(error) === 'lab-copy-failed');
});

test('isolates the guest from this machine and its network, and forwards a port of the guest', async () => {
  const server = createServer((_request, response) => response.end('from the operator'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    const request = `exec 3<>/dev/tcp/${OPERATOR_ADDRESS}/${address.port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    const { exitCode, stdout } = await host.run(['timeout', '10', 'bash', '-c', request]);
    assert.notEqual(exitCode, 0);
    assert.doesNotMatch(stdout, /from the operator/);
  } finally {
    server.close();
  }
  assert.ok((host.forwards.get(8080) ?? 0) > 0);
});

test('finds the flaws of the stock kernel with the reproducers', async () => {
  assert.deepEqual(await lab.reproducers(), [
    'CVE-2026-52972',
    'CVE-2026-53249',
    'CVE-2026-93146',
    'em_text-algorithm',
  ]);
  for (const id of await lab.reproducers()) assert.equal(await lab.reproduce(host, id), 'vulnerable');
  assert.equal((await codeInForce(host, 'ip_options_get')).source, 'kernel');
});

test('runs a workload without loss, and reports a broken connection as a failure', async () => {
  const workload = await lab.startWorkload(host);
  await delay(2000);
  const result = await workload.stop();
  assert.ok(result.sent > 50, JSON.stringify(result));
  assert.equal(result.lost, 0);
  assert.equal(result.echoed, result.sent);
  assert.ok(result.longestGapMs > 0 && result.longestGapMs < 2000);
  const killed = await lab.startWorkload(host);
  await host.check('pkill -KILL workload');
  await assert.rejects(killed.stop(), (error) => errorCode(error) === 'lab-workload-failed');
});

test('exercises every area of the stock kernel without a failure', async () => {
  const { areas, failures, skipped, operations } = await lab.exercise(host, 10);
  assert.deepEqual(failures, []);
  // Debian's kernel has all of it.
  assert.deepEqual(skipped, []);
  assert.deepEqual(Object.keys(areas).sort(), AREAS);
  assert.ok(operations > 10_000, String(operations));
  assert.deepEqual(complaints(await host.kernelLog()), []);
});

test('exercises named parts of the kernel, and reports one without tools', async () => {
  const areas = [
    { script: 'files', part: 'tmpfs' },
    { script: 'files', part: 'xfs' },
  ] as const;
  const work = await exerciseAreas(host, areas, (where, seconds) => lab.exercise(where, seconds), { say: () => {} });
  const told = work.map(({ area, what, outcome }) => `${area}, ${what}: ${outcome}`);
  assert.ok(told.includes('files:tmpfs, tmpfs: done'), told.join('\n'));
  // This root lacks tools that even a tmpfs is used with: that is told, not passed over.
  assert.ok(told.includes('files:tmpfs, files.sh with stress-ng: absent'), told.join('\n'));
  assert.match(work.find(({ what }) => what === "tmpfs's tools")?.why ?? '', /\bsetfattr\b/);
  assert.equal(work.find(({ what }) => what === 'xfs')?.why, 'no mkfs.xfs');
  assert.equal(await host.check('grep kmend-area /proc/mounts; ls /var/tmp | grep kmend-area; true'), '');
});

test('reports what fails in the exercise and what a kernel does not have', async () => {
  await host.check('mkdir /tmp/empty && mount --bind /tmp/empty /sys/kernel/tracing && chmod 000 /usr/sbin/mkfs.ext4');
  await host.check('mount -t tmpfs -o size=4k tmpfs /dev/shm');
  try {
    const { failures, skipped } = await lab.exercise(host, 2);
    assert.deepEqual(skipped, ['trace: tracefs', 'loop: loop devices']);
    assert.match(
      failures.find((line) => line.startsWith('tmpfs:')) ?? '',
      /failures, first line \d+: .*pwrite.*errno 28/,
    );
  } finally {
    await host.check('umount /sys/kernel/tracing /dev/shm && chmod 755 /usr/sbin/mkfs.ext4');
  }
});

test('keeps the disk over a reboot and a power cut', async () => {
  const boot = await host.bootId();
  await host.check('echo kept >/root/kept && sync');
  await host.reboot();
  const second = await host.bootId();
  assert.equal(host.restored, false);
  assert.notEqual(second, boot);
  await host.powerOffHard();
  await assert.rejects(host.run('true'), (error) => errorCode(error) === 'lab-guest-gone');
  await host.start();
  assert.ok(![boot, second].includes(await host.bootId()));
  assert.equal(await host.check('cat /root/kept'), 'kept');
});

test('restores saved memory and disk after changes and a power cut', async () => {
  await host.check('echo before >/root/saved; echo before >/run/saved');
  const boot = await host.bootId();
  await host.save('here');
  for (const change of [
    () => host.check('echo after >/root/saved; echo after >/run/saved'),
    () => host.powerOffHard(),
  ]) {
    await change();
    await host.restore('here');
    assert.equal(await host.check('cat /root/saved /run/saved'), 'before\nbefore');
    assert.equal(await host.bootId(), boot);
    assert.ok(Math.abs(Number(await host.check('date +%s')) - Date.now() / 1000) < 10);
  }
  await assert.rejects(host.restore('nowhere'), { code: 'lab-qemu-failed' });
  assert.equal(await host.bootId(), boot);
});

test('reports a panic, and follows a guest that reboots by itself', async () => {
  const panic = host.run('echo c >/proc/sysrq-trigger');
  await assert.rejects(panic, (error) => {
    assert.ok(error instanceof KmendError);
    assert.equal(error.code, 'lab-guest-panic');
    return String(error.details?.['console']).includes('Kernel panic - not syncing: sysrq triggered crash');
  });
  await host.powerOffHard();
  await host.start();
  await host.rebootBy(() => host.run('echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger'));
  assert.equal(await host.check('cat /root/kept'), 'kept');
  await host.shutdown();
  assert.equal(host.isOn, false);
});

test('reports a kernel that does not boot at once, with its output', async () => {
  const broken = lab.boot(kernel, { name: 'broken', fresh: true, kernelArguments: ['rdinit=/none', 'root=/none'] });
  await assert.rejects(broken, (error) => {
    assert.ok(error instanceof KmendError);
    assert.equal(error.code, 'lab-guest-panic');
    return String(error.details?.['console']).includes('VFS');
  });
});

test('ends a host with the process that started it, and removes its disk', async () => {
  const runs = join(cache, 'lab', 'runs');
  const earlier = new Set(await readdir(runs));
  const program = `
    const { Lab } = await import('@kmend/lab');
    const { run, systemClock } = await import('@kmend/base/node');
    const progress = { step: (text) => console.log(text), advance() {} };
    const signal = new AbortController().signal;
    const lab = new Lab({ run, clock: systemClock, progress, cache: process.argv[1], signal });
    const kernel = JSON.parse(process.argv[2]);
    await lab.boot(kernel, { name: 'orphan', fresh: true, kernelArguments: ['kmend.orphan=' + process.pid] });
  `;
  const args = ['--input-type=module', '-e', program, join(cache, 'lab'), JSON.stringify(kernel)];
  const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: import.meta.dirname });
  for await (const line of createInterface(owner.stdout)) if (line.startsWith('lab: boot')) break;
  const mark = `kmend.orphan=${owner.pid}`;
  assert.ok(await until(async () => (await processes(mark)) > 0), 'QEMU runs');
  owner.kill('SIGKILL');
  assert.ok(await until(async () => (await processes(mark)) === 0), 'QEMU is gone');
  const left = async (): Promise<string[]> => (await readdir(runs)).filter((name) => !earlier.has(name));
  assert.ok(await until(async () => (await left()).length === 0), `left behind: ${await left()}`);
});

/** How many processes of this machine have `text` in their arguments. */
async function processes(text: string): Promise<number> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(names.map((name) => readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes('qemu-system') && line.includes(text)).length;
}

async function until(condition: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return true;
    await delay(100);
  }
  return false;
}
