import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StatusDocument } from '@kmend/agent';
import { buildAgentPackage } from '@kmend/agent/deb';
import { systemClock } from '@kmend/base/node';
import {
  AGAIN,
  APT,
  FIXES,
  fixesIn,
  IMAGE,
  META,
  MORE,
  MOUNT_IMAGE,
  NOTE,
  ORIGIN,
  OTHER_MACHINE,
  type PackagedHost,
  PatchedHost,
  packageOf,
  SERIES,
  Setting,
  UNMOUNT_IMAGE,
} from '@kmend/harness';
import { LONG_FORM } from '../lib/long-form.ts';

/**
 * Livepatches through the package manager: a real Debian host with apt and unattended-upgrades follows a real server's
 * repository, under one policy after the other. Tests continue where the last one ended.
 */
const [options, aead] = FIXES;
const folders = new Map<string, string>();
let setting: Setting;
let packaged: PackagedHost;
let cumulative = '';

before(async () => {
  setting = await Setting.make(new AbortController().signal);
  for (const fix of SERIES) folders.set(fix, await setting.publisher.buildStacked(fix));
  cumulative = await setting.publisher.buildCumulative();
  packaged = await setting.boot('packaged');
});
after(() => setting.close());

/** Notes each moment at which no livepatch is in force for every task. */
const WATCH = `#!/bin/sh
while :; do
  found=
  for each in /sys/kernel/livepatch/*; do
    { read -r enabled <"$each/enabled" && read -r transition <"$each/transition"; } 2>/dev/null || continue
    [ "$enabled$transition" = 10 ] && found=1
  done
  [ -n "$found" ] || date >>/run/lab-bare
  sleep 0.05
done
`;

interface Refusal {
  readonly error: { readonly code: string };
}

interface Reason {
  readonly reason: string;
}

/** `kmend-agent WORDS --json`, which has to end with that code. */
async function agent<T>(code: number, ...words: string[]): Promise<T> {
  const { exitCode, stdout, stderr } = await packaged.host.run(['kmend-agent', ...words, '--json'], {
    timeoutMs: 600_000,
  });
  assert.equal(exitCode, code, `${words.join(' ')}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

/** Nothing is half done, and the kernel log has no complaint. */
async function inOrder(fixes: readonly string[]): Promise<void> {
  const status = await packaged.status();
  assert.deepEqual(fixesIn(status), fixes, JSON.stringify(status.problems));
  assert.deepEqual([status.exitCode, status.outcome?.code], [0, 'in-force']);
  assert.equal(await packaged.unconfigured(), '');
}

/** Lays a file of apt's configuration, or of systemd's. */
async function configure(path: string, text: string): Promise<void> {
  await packaged.host.copyIn(Buffer.from(text), path);
}

const automatic = (patterns: string): string => `APT::Periodic::Update-Package-Lists "always";
APT::Periodic::Unattended-Upgrade "always";
#clear Unattended-Upgrade::Origins-Pattern;
Unattended-Upgrade::Origins-Pattern { "${patterns}"; };
`;

test('applies the fix with one sources file and one package, and apt describes it', async () => {
  await packaged.follow(await setting.offer(folders.get(options.id)));
  // The package of the flavour asks for the same, without naming a kernel.
  assert.match(await packaged.mustApt('install', '--simulate', 'livepatch-amd64'), new RegExp(`^Inst ${META} `, 'm'));
  await packaged.mustApt('install', META);
  await inOrder([options.id]);
  assert.equal(await setting.lab.reproduce(packaged.host, options.id), 'fixed');
  const shown = await packaged.host.check(`apt-cache show ${packageOf(options.id)}`);
  assert.match(shown, new RegExp(`Description[^]*${options.id}`));
  assert.match(await packaged.mustApt('changelog', META), new RegExp(options.id));
});

test('installs a livepatch without a CVE from the security suite only when one with a CVE depends on it', async () => {
  await configure('/etc/apt/apt.conf.d/52kmend', automatic(`origin=${ORIGIN},label=${ORIGIN}-security`));
  await packaged.follow(await setting.offer(folders.get(NOTE), 'security'));
  await packaged.automaticUpgrade();
  await inOrder([options.id]);
  await setting.offer(folders.get(aead.id));
  const log = await packaged.automaticUpgrade();
  await inOrder([options.id, NOTE, aead.id]);
  assert.match(log, new RegExp(`Packages that will be upgraded:.*${META}`));
  assert.equal(await setting.lab.reproduce(packaged.host, aead.id), 'fixed');
});

test('unattended-upgrades installs everything of the repository at its next run', async () => {
  await configure('/etc/apt/apt.conf.d/52kmend', automatic(`origin=${ORIGIN}`));
  await packaged.follow(await setting.offer(folders.get(MORE.id)));
  await packaged.automaticUpgrade();
  await inOrder([options.id, NOTE, aead.id, MORE.id]);
});

test('installs a staged, held or pinned livepatch only when its stage comes and the hold ends', async () => {
  const before = [options.id, NOTE, aead.id, MORE.id];
  await setting.publisher.add(folders.get(AGAIN) ?? '');
  await setting.publisher.phase(0);
  await setting.offer();
  await packaged.automaticUpgrade();
  await inOrder(before);
  await setting.publisher.phase(50);
  await setting.offer();
  await packaged.mustApt('update');
  const notYet = ['-o', 'APT::Get::Never-Include-Phased-Updates=1'];
  assert.match(await packaged.mustApt(...notYet, 'upgrade', '--with-new-pkgs'), /0 upgraded/);
  await setting.publisher.phase(100);
  await setting.offer();
  await packaged.host.check(`apt-mark hold ${META}`);
  await packaged.mustApt('update');
  assert.match(await packaged.mustApt('upgrade', '--with-new-pkgs'), /0 upgraded/);
  await packaged.automaticUpgrade();
  await inOrder(before);
  await packaged.host.check(`apt-mark unhold ${META}`);
  await configure('/etc/apt/preferences.d/kmend', `Package: ${META}\nPin: version 4\nPin-Priority: 1001\n`);
  assert.match(await packaged.mustApt('upgrade', '--with-new-pkgs'), /0 upgraded/);
  await inOrder(before);
  await packaged.host.check('rm /etc/apt/preferences.d/kmend');
});

test('loads the stack again in order after a manual upgrade and a power cut', async () => {
  await packaged.mustApt('upgrade', '--with-new-pkgs');
  await inOrder([...SERIES]);
  const { functionsCoveredSeveralTimes, depth } = await packaged.measure();
  assert.deepEqual([depth, functionsCoveredSeveralTimes], [5, 1]);
  assert.match(await packaged.host.check('cat /proc/version'), /note\nagain$/);
  await packaged.host.reboot();
  await inOrder([...SERIES]);
});

test('replaces the stack with the cumulative livepatch in a timer’s maintenance window', async () => {
  await setting.offer(cumulative);
  await packaged.host.check('systemctl start apt-daily.service', { timeoutMs: 600_000 });
  await configure(
    '/etc/systemd/system/apt-daily-upgrade.timer.d/window.conf',
    '[Timer]\nOnCalendar=\nOnCalendar=Sat *-*-* 02:00\nRandomizedDelaySec=0\nPersistent=false\n',
  );
  await packaged.host.check(`systemctl unmask apt-daily-upgrade.timer && systemctl daemon-reload
    systemctl start apt-daily-upgrade.timer && date -s 'next Saturday 01:59:57'`);
  await packaged.host.check(
    // Asked of the kernel: to ask the loader takes the only processor longer than the upgrade needs between two looks.
    `until [ "$(ls /sys/kernel/livepatch | wc -l)" = 1 ]; do sleep 2; done
     until [ "$(systemctl show --property=ActiveState --value apt-daily-upgrade.service)" = inactive ]; do sleep 2; done`,
    { timeoutMs: 600_000 },
  );
  await inOrder([...SERIES]);
  assert.equal((await packaged.enabled()).length, 1);
  const modules = await packaged.host.check("awk '$1 ~ /^kmend_/ { print $1 }' /proc/modules");
  assert.deepEqual(modules.split('\n'), await packaged.enabled(), 'the stack is unloaded');
  assert.match(await packaged.host.check('cat /proc/version'), /note\nagain$/);
  await packaged.host.check(`systemctl stop apt-daily-upgrade.timer && date -u -s @${Math.round(Date.now() / 1000)}`);
});

test('goes back to the stack of an earlier state', async () => {
  // The cumulative package goes: as long as it is there the loader keeps it.
  await packaged.mustApt('install', '--autoremove', '--allow-downgrades', `${META}=${SERIES.length}`);
  await inOrder([...SERIES]);
  assert.equal((await packaged.enabled()).length, SERIES.length);
});

test('loads nothing by the agent on a host that packages drive, and says so', async () => {
  await setting.operator.kmend('publish', cumulative, '--unproven');
  const patched = new PatchedHost(packaged.host, setting.lab, setting.operator, systemClock);
  await patched.install((await buildAgentPackage({ out: `${setting.operator.home}/deb` })).path);
  await patched.enrol(setting.server, setting.key.key, { soakSeconds: 1 });
  await agent(0, 'check');
  const { stack, status } = await agent<StatusDocument>(0, 'status');
  assert.deepEqual([stack?.strategy, stack?.depth, status.loaded.state], ['temporary', SERIES.length, 'loaded']);
  assert.equal((await agent<Reason>(5, 'apply')).reason, 'conflict-packages');
  await inOrder([...SERIES]);
});

test('replaces the stack without a gap by consolidation, and keeps the livepatch over a reboot', async () => {
  const { host } = packaged;
  // As if a quarter of an hour had passed: what is watched still is not replaced.
  assert.equal((await agent<Refusal>(5, 'consolidate')).error.code, 'packages-busy');
  await host.copyIn(Buffer.from('soak 1\n'), '/etc/kmend-livepatch/config');
  await host.check('sleep 1; kmend-livepatch soaked');
  await host.copyIn(Buffer.from(WATCH), '/root/watch', 0o755);
  await host.check('systemd-run --quiet --unit lab-watch /root/watch');
  await agent(0, 'consolidate');
  await host.check('systemctl stop lab-watch');
  assert.equal(await host.check('cat /run/lab-bare 2>/dev/null || :'), '', 'at no moment nothing was in force');
  const [only, ...others] = await packaged.enabled();
  assert.deepEqual(others, []);
  assert.match(await host.check('cat /proc/version'), /note\nagain$/);
  await host.check(`until [ "$(awk '$1 ~ /^kmend_/' /proc/modules | wc -l)" = 1 ]; do sleep 0.5; done`);
  const journal = '/var/lib/kmend-agent/loader/journal.json';
  await host.check(`until grep -q '"consolidated"' ${journal}; do sleep 1; done`, { timeoutMs: 120_000 });
  await host.reboot();
  assert.deepEqual(await packaged.enabled(), [only]);
  // In force; whether it is the latest is unknown since the boot.
  const { stack, effectiveSerial } = await agent<StatusDocument>(4, 'status');
  assert.deepEqual([stack?.strategy, effectiveSerial], ['persistent', 1]);
  assert.equal((await packaged.status()).yielded, true);
});

test('gives the host back to the packages', async () => {
  await agent(0, 'consolidate', '--undo');
  assert.deepEqual(await packaged.fixes(), [...SERIES]);
  await inOrder([...SERIES]);
  const { stack, quarantined } = await agent<StatusDocument>(0, 'status');
  assert.deepEqual([stack?.strategy, quarantined], ['temporary', []]);
  await packaged.mustApt('purge', 'kmend-agent');
});

test('keeps and reports a livepatch whose package was forcibly removed from the middle', async () => {
  await packaged.host.check(['dpkg', '--remove', '--force-depends', packageOf(NOTE)], { timeoutMs: 300_000 });
  const { exitCode, problems, inForce } = await packaged.status();
  assert.deepEqual([exitCode, problems.map(({ code }) => code)], [0, ['removed-but-needed']]);
  assert.equal(inForce.length, SERIES.length);
  await packaged.mustApt('--fix-broken', 'install');
  await inOrder([...SERIES]);
});

test('reverts from the top on removal; leaves nothing after purge', async () => {
  // Without the metapackage apt would rather have its newest state, with the cumulative livepatch.
  await packaged.mustApt('remove', META, packageOf(MORE.id));
  const status = await packaged.status();
  assert.deepEqual(fixesIn(status), [options.id, NOTE, aead.id], JSON.stringify(status.problems));
  await packaged.mustApt('purge', '--autoremove', `${META}*`, 'kmend-livepatch');
  assert.deepEqual(await packaged.enabled(), []);
  assert.equal(await packaged.host.check("awk '$1 ~ /^kmend_/' /proc/modules"), '');
  const left =
    'ls -d /var/lib/kmend-livepatch /run/kmend-livepatch /usr/lib/kmend-livepatch* /etc/systemd/system/*/kmend-livepatch* 2>/dev/null || :';
  assert.equal(await packaged.host.check(left), '');
  assert.equal(await setting.lab.reproduce(packaged.host, options.id), 'vulnerable');
});

test(
  'loads nothing in the chroot of an image; the machine made of it has the fixes at its first boot',
  LONG_FORM,
  async () => {
    const { host } = packaged;
    await host.check(MOUNT_IMAGE, { timeoutMs: 120_000 });
    await host.check(['chroot', IMAGE, ...APT, 'install', META], { timeoutMs: 600_000 });
    const { exitCode, stderr } = await host.run(['chroot', IMAGE, 'kmend-livepatch', 'sync'], { timeoutMs: 300_000 });
    assert.equal(exitCode, 5);
    assert.match(stderr, /\(foreign-kernel\)/);
    assert.deepEqual(await packaged.enabled(), []);
    assert.equal(await host.check("awk '$1 ~ /^kmend_/' /proc/modules"), '');
    assert.equal(await host.check(`ls ${IMAGE}/var/lib/kmend-livepatch/state 2>/dev/null || :`), '');
    // What the image has beyond this host comes onto its disk, and another machine boots from it.
    await host.check(`set -e; ${UNMOUNT_IMAGE}
    find /srv/upper/u -type c -delete && cp -a /srv/upper/u/. / && umount /srv/upper && rm /srv/image.ext4
    ${OTHER_MACHINE}`);
    await host.reboot();
    await inOrder([...SERIES]);
    assert.deepEqual((await packaged.status()).quarantined, []);
  },
);
