import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { FIXES, LATE_NETWORK, MORE, type PatchedHost } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import { LONG_FORM } from '../lib/long-form.ts';
import { OperatedHost } from '../lib/operated-host.ts';

const [, aead] = FIXES;

/**
 * What boots of all kinds leave of a livepatch: a power cut, an offline update, the switches, a kernel that takes no
 * modules, a state that comes late. Tests continue where the last one ended.
 */
let operated: OperatedHost;
let patched: PatchedHost;
let host: Host;

before(async () => {
  operated = await OperatedHost.make('booted');
  ({ patched, host } = operated);
  await operated.publish('one', aead.id, MORE.id);
});
after(() => operated?.close());

test('quarantines the livepatch after a power cut in the soak, and loads the last good one', async () => {
  await operated.takes(1);
  await operated.untilGood();
  await operated.configure('60-soak', { soakSeconds: 86_400 });
  await operated.publish('two', aead.id, FIXES[0].id);
  const { json } = await operated.agent('check');
  assert.deepEqual([json.state, json.serial], ['soak', 2]);
  await host.powerOffHard();
  await host.start();
  const after = await operated.status();
  assert.equal(after.effectiveSerial, 1);
  assert.deepEqual(
    after.quarantined.map((it) => [it.serial, it.code]),
    [[2, 'crashed']],
  );
  const told = await operated.agent('doctor');
  assert.match(told.text, /serial 2 is quarantined.*went down without an orderly shutdown/);
  assert.equal((await operated.agent('check')).json.reason, 'quarantined');
  assert.equal(await patched.reproduce(aead.id), 'fixed');
  // In the soak after its re-application it says nothing of one that came through a soak before.
  await host.powerOffHard();
  await host.start();
  const again = await operated.status();
  assert.deepEqual([again.effectiveSerial, again.state], [1, 'soak']);
  assert.deepEqual(
    again.quarantined.map((it) => it.serial),
    [2],
  );
  assert.equal((await operated.codes()).filter((it) => it === 'went-down').length, 1);
});

test('does not count an offline update as a crash', async () => {
  const before = (await operated.codes()).filter((it) => it === 'load-started').length;
  const update = `[Unit]
DefaultDependencies=no
Requires=sysinit.target
After=sysinit.target kmend-agent-boot.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /system-update; exec systemctl --no-block reboot'
`;
  await host.copyIn(Buffer.from(update), '/etc/systemd/system/lab-update.service');
  await host.check(`mkdir -p /etc/systemd/system/system-update.target.wants
    ln -s ../lab-update.service /etc/systemd/system/system-update.target.wants/
    ln -s /var/lib /system-update && sync`);
  await host.reboot();
  const after = await operated.status();
  assert.equal(after.effectiveSerial, 1);
  assert.deepEqual(
    after.quarantined.map((it) => it.serial),
    [2],
  );
  const said = await operated.codes();
  assert.equal(said.filter((it) => it === 'load-started').length, before + 2, 'both boots loaded it');
  assert.equal(await host.check('systemctl is-active kmend-agent-boot.service'), 'active');
  assert.equal(said.filter((it) => it === 'went-down').length, 1, 'only the power cut before');
});

test('loads nothing while the off file exists', async () => {
  await host.check('rm /etc/kmend-agent/config.d/60-soak.json; touch /etc/kmend-agent/off');
  await host.reboot();
  assert.deepEqual(await patched.loadedModules(), []);
  assert.equal((await operated.agent('resume')).exitCode, 0);
  assert.equal((await operated.agent('check')).json.reason, 'switched-off');
  const refused = await operated.agent('apply');
  assert.deepEqual([refused.exitCode, refused.json.reason], [5, 'switched-off']);
  assert.match((await operated.agent('doctor')).text, /\/etc\/kmend-agent\/off is there/);
  await host.check('rm /etc/kmend-agent/off');
  await operated.takes(2);
  await operated.untilGood();
});

test('detects lockdown and modules_disabled before it passes anything to the kernel', async () => {
  await operated.bootWith('lockdown=integrity');
  await operated.refused('lockdown');
  await host.check('sysctl kernel.modules_disabled=1');
  await operated.refused('modules-disabled');
  assert.deepEqual((await operated.status()).quarantined, []);
});

test('loads nothing in a boot with kmend=off on the kernel command line', LONG_FORM, async () => {
  await operated.bootWith('kmend=off');
  assert.equal((await operated.agent('check')).json.reason, 'switched-off');
  assert.deepEqual(await patched.loadedModules(), []);
  assert.match((await operated.agent('doctor')).text, /kmend=off on the kernel command line/);
});

test('re-applies the last good livepatch later in the boot if the state is on the network', async () => {
  const state = '/var/lib/kmend-agent';
  const acting = 'kmend-agent.service kmend-loader.socket kmend-loader-consider.socket kmend-loader.service';
  // As with NFS: the mount waits for a network that takes a moment to come.
  await host.copyIn(Buffer.from(LATE_NETWORK), '/etc/systemd/system/lab-network.service');
  await host.check(`systemctl enable lab-network.service && systemctl stop ${acting}
    mkdir /srv/state && cp -a ${state}/. /srv/state/ && rm -r ${state}/*
    echo '/srv/state ${state} none bind,_netdev 0 0' >>/etc/fstab && sync`);
  await host.reboot();
  // Of systemd alone, by its name: before journald runs its lines come through the kernel log, without a process. The
  // guest agent writes there too, every command that it is given.
  assert.equal(await host.check(`journalctl -b -o cat -t systemd | grep 'ordering cycle' || :`), '');
  const units = 'kmend-agent-boot-late.service kmend-agent-shutdown.service kmend-agent.service';
  assert.equal(await host.check(`findmnt ${state} >/dev/null; systemctl is-active ${units} | sort -u`), 'active');
  const after = await operated.status();
  assert.deepEqual([after.effectiveSerial, after.quarantined], [2, []]);
});
