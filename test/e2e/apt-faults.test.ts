import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import {
  BOOT_MARK,
  cutAt,
  ENDING_UNIT,
  endIn,
  endingUnit,
  FIXES,
  fixesIn,
  KERNEL,
  LATE_NETWORK,
  META,
  type PackagedHost,
  SERIES,
  Setting,
  SUITE,
  uncut,
} from '@kmend/harness';
import { LONG_FORM } from '../lib/long-form.ts';

/**
 * Failures on a host that gets livepatches through apt: each ends in a state that is reported, and that an
 * administrator can resolve.
 */
const [options] = FIXES;
const [, second] = SERIES;
/** A later Debian kernel: what a host comes up with after its own upgrade. */
const LATER = '6.1.0-50-amd64';
/** One livepatch in force and good, a second one on offer. */
const START = 'one-in-force';
let setting: Setting;
let packaged: PackagedHost;

before(async () => {
  setting = await Setting.make(new AbortController().signal);
  const one = await setting.publisher.buildStacked(options.id);
  const two = await setting.publisher.buildStacked(second);
  packaged = await setting.boot('packaged-faults');
  const { host } = packaged;
  // What is good stays in force over a power cut; a soak of a second lets it be good now.
  await host.copyIn(Buffer.from('soak 1\n'), '/etc/kmend-livepatch/config');
  await packaged.follow(await setting.offer(one));
  await packaged.mustApt('install', META);
  await setting.offer(two);
  await packaged.mustApt('update');
  await host.check('sleep 1; kmend-livepatch soaked && sync');
  await host.save(START);
});
after(() => setting.close());

async function begin(): Promise<void> {
  await packaged.host.restore(START);
  assert.deepEqual(await packaged.fixes(), [options.id]);
}

/** What was in force is in force, and the host is well otherwise. */
async function untouched(): Promise<void> {
  const status = await packaged.status();
  assert.deepEqual([fixesIn(status), status.exitCode, status.outcome?.code], [[options.id], 0, 'in-force']);
  assert.equal(await packaged.unconfigured(), '');
}

async function upgraded(): Promise<void> {
  await packaged.mustApt('install', META);
  assert.deepEqual(await packaged.fixes(), [options.id, second]);
  assert.equal(await packaged.unconfigured(), '');
}

test('apt refuses a tampered and a stale repository; livepatches in force stay', async () => {
  await begin();
  const release = join(setting.publisher.served, 'dists', 'updates', 'InRelease');
  const text = await readFile(release, 'utf8');
  await writeFile(release, text.replace(/^(Origin: )/m, '$1X'));
  try {
    const { stdout, stderr } = await packaged.apt('update');
    assert.match(`${stdout}${stderr}`, /(BADSIG|invalid signature|not signed|NOSPLIT)/i);
  } finally {
    await writeFile(release, text);
  }
  await packaged.host.check("date -s '+20 days'");
  const stale = await packaged.apt('update');
  assert.match(`${stale.stdout}${stale.stderr}`, /Release file .* is expired/);
  await untouched();
});

test("loads nothing new with a revoked publisher's key; apt installs, livepatches in force stay", async () => {
  await begin();
  const { host } = packaged;
  const { armoured, binary } = await revoked();
  const lines = armoured
    .trimEnd()
    .split('\n')
    .map((line) => (line === '' ? ' .' : ` ${line}`));
  const sources = await host.check('sed "/^Signed-By:/q" /etc/apt/sources.list.d/kmend.sources');
  await host.copyIn(Buffer.from(`${sources}\n${lines.join('\n')}\n`), '/etc/apt/sources.list.d/kmend.sources');
  await host.copyIn(binary, '/usr/share/kmend-livepatch/packages.gpg');
  const { stdout, stderr } = await packaged.apt('update');
  assert.match(`${stdout}${stderr}`, /REVKEYSIG/);
  // It has the second one from before.
  await packaged.mustApt('install', META);
  const status = await packaged.status();
  assert.deepEqual([fixesIn(status), status.exitCode], [[options.id], 2]);
  assert.ok(
    status.problems.some(({ code }) => code === 'signature-wrong'),
    JSON.stringify(status.problems),
  );
  assert.equal(await packaged.unconfigured(), '');
});

test('does nothing on another kernel, and loads again on its own', async () => {
  await begin();
  const { host } = packaged;
  await setting.operator.kmend('kernel', 'add', `${SUITE}/${LATER}`);
  await setting.lab.changeKernel(host, await setting.kernel(LATER));
  await host.reboot();
  assert.equal(await host.check('uname -r'), LATER);
  const { exitCode, outcome, otherKernels } = await packaged.status();
  assert.deepEqual([exitCode, outcome?.code, otherKernels], [3, 'other-kernel', 1]);
  assert.deepEqual(await packaged.enabled(), []);
  // The package manager continues as usual.
  await packaged.mustApt('install', META);
  assert.equal(await packaged.unconfigured(), '');
  await setting.lab.changeKernel(host, await setting.kernel(KERNEL));
  await host.reboot();
  assert.deepEqual(await packaged.fixes(), [options.id, second]);
});

test('reports module-refused if the kernel requires signatures; packages install, the host runs', async () => {
  await begin();
  const { host } = packaged;
  await host.powerOffHard();
  await host.start({ kernelArguments: ['module.sig_enforce=1'] });
  await packaged.mustApt('install', META);
  const { exitCode, problems } = await packaged.status();
  assert.deepEqual([exitCode, problems[0]?.code], [1, 'module-refused']);
  assert.equal(await packaged.unconfigured(), '');
  await host.reboot();
  assert.deepEqual(await packaged.fixes(), [options.id, second]);
});

test(
  'quarantines nothing after a boot into rescue mode, with /var over the network, or with modules disabled',
  LONG_FORM,
  async () => {
    await begin();
    const { host } = packaged;
    const [module] = await packaged.enabled();
    // Every boot from here on ends in the soak of what it loaded.
    await host.copyIn(Buffer.from('soak 3600\n'), '/etc/kmend-livepatch/config');
    await host.copyIn(Buffer.from(endingUnit('systemctl --no-block reboot')), ENDING_UNIT);
    await host.check(endIn('rescue.target'));
    await host.shutdown();
    await host.start({ kernelArguments: ['systemd.unit=rescue.target'] });
    assert.equal(await host.check(`cat ${BOOT_MARK}`), `booted\n${module}`);
    await untouched();
    await host.copyIn(Buffer.from(LATE_NETWORK), '/etc/systemd/system/lab-network.service');
    await host.check(
      `systemctl enable lab-network.service && mkdir /srv/late && cp -a /var/. /srv/late/ &&
      rm -r /var/lib/kmend-livepatch/* && echo '/srv/late /var none bind,_netdev 0 0' >>/etc/fstab && sync`,
      { timeoutMs: 300_000 },
    );
    await host.reboot();
    // Of systemd alone, by its name: before journald runs its lines come through the kernel log.
    assert.equal(await host.check("journalctl -b -o cat -t systemd | grep 'ordering cycle' || :"), '');
    await host.check('findmnt /var && systemctl is-active kmend-livepatch-late.service');
    await untouched();
    await host.check('sysctl kernel.modules_disabled=1');
    await packaged.mustApt('install', META);
    const status = await packaged.status();
    assert.deepEqual(
      [status.outcome?.code, status.quarantined, fixesIn(status)],
      ['modules-disabled', [], [options.id]],
    );
    assert.equal(await packaged.unconfigured(), '');
    await host.reboot();
    assert.deepEqual(await packaged.fixes(), [options.id, second]);
  },
);

test('loads what was in force after a power cut during an upgrade, and apt continues', async () => {
  await begin();
  const { host } = packaged;
  await cutAt(host, "'processing: trigproc: kmend-livepatch'*", ['apt-get', '--yes', 'install', META]);
  await host.start();
  const booted = await packaged.fixes();
  assert.equal(booted[0], options.id);
  await uncut(host);
  await host.check('DEBIAN_FRONTEND=noninteractive dpkg --configure -a', { timeoutMs: 300_000 });
  await packaged.livepatch('resume');
  await upgraded();
  assert.equal((await packaged.status()).exitCode, 0);
});

test('keeps livepatches in force when apt fails on a full disk, and the loader continues when there is space', async () => {
  await begin();
  const { host } = packaged;
  await host.check(
    // Most of it at once: gigabytes of zeroes take an emulated host a minute.
    `fallocate -l "$(($(df --output=avail -B1 / | tail -n 1) - 67108864))" /var/fill
     dd if=/dev/zero of=/var/fill-rest bs=1M 2>/dev/null; sync; df --output=avail / | tail -n 1 | grep -qx " *0"`,
    {
      timeoutMs: 600_000,
    },
  );
  const { exitCode } = await packaged.apt('install', META);
  assert.notEqual(exitCode, 0);
  await packaged.livepatch('sync', '--package');
  assert.deepEqual(await packaged.fixes(), [options.id]);
  await host.check('rm /var/fill /var/fill-rest');
  await packaged.mustApt('--fix-broken', 'install');
  await upgraded();
});

// Last: a key that is revoked stays so.
test('apt reports a revoked activation key; livepatches in force stay', async () => {
  await begin();
  await setting.operator.kmend('key', 'revoke', setting.key.id);
  const { stdout, stderr } = await packaged.apt('update');
  assert.match(`${stdout}${stderr}`, /the activation key was revoked \(key-revoked\)/);
  await untouched();
});

/** A keyring with the same key, and the word of its owner that it counts no more. */
async function revoked(): Promise<{ readonly armoured: string; readonly binary: Buffer }> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-revoke-'));
  try {
    const gpg = async (args: readonly string[], stdin?: string | Uint8Array): Promise<Buffer> =>
      await runOk(run, 'gpg', ['--homedir', home, '--no-tty', '--yes', '--quiet', ...args], {
        ...(stdin !== undefined && { stdin }),
      });
    await gpg(['--batch', '--import', setting.publisher.keyFile]);
    const listed = (await gpg(['--batch', '--list-secret-keys', '--with-colons'])).toString('utf8');
    const [, fingerprint = ''] = /^fpr:+([0-9A-F]{40}):/m.exec(listed) ?? [];
    const word = await gpg(['--command-fd', '0', '--armor', '--gen-revoke', fingerprint], 'y\n1\n\ny\n');
    await gpg(['--batch', '--import', '-'], word);
    const exported = ['--batch', '--export', fingerprint];
    return { armoured: (await gpg(['--armor', ...exported])).toString('utf8'), binary: await gpg(exported) };
  } finally {
    await run('gpgconf', ['--homedir', home, '--kill', 'all']);
    await rm(home, { recursive: true, force: true });
  }
}
