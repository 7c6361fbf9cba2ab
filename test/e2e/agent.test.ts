import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { StatusDocument } from '@kmend/agent';
import { buildAgentPackage, UNITS } from '@kmend/agent/package';
import { systemClock } from '@kmend/base/node';
import { MANIFEST } from '@kmend/builder';
import {
  agentInstalled,
  FIXES,
  importFixes,
  KERNEL,
  LATE_NETWORK,
  MORE,
  Operator,
  openLab,
  PatchedHost,
  type ServerProcess,
  SUITE,
} from '@kmend/harness';
import { Livepatch } from '@kmend/protocol';

/**
 * What an operator does with a host besides letting it run: hold it, go back, switch the agent off, carry updates by hand, upgrade
 * and remove the package, and what is left after a power cut. Tests go on where the last one ended.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
const [, aead] = FIXES;
let server: ServerProcess;
let patched: PatchedHost;
let key = '';

/** Runs `kmend-agent ... --json` in the guest. */
async function agent(...args: string[]) {
  const { exitCode, stdout, stderr } = await patched.host.run(['kmend-agent', ...args, '--json'], {
    timeoutMs: 180_000,
  });
  return { exitCode, json: JSON.parse(stdout), text: `${stdout}${stderr}` };
}

async function status(): Promise<StatusDocument> {
  return (await agent('status')).json;
}

async function publish(name: string, ...ids: string[]): Promise<void> {
  const out = join(operator.home, name);
  await operator.kmend('build', '--kernel', KERNEL, '--fix', ...ids, '--out', out);
  await operator.kmend('publish', out, '--unproven');
}

/** Lays configuration over the host's. */
async function configure(name: string, config: Readonly<Record<string, unknown>>): Promise<void> {
  await patched.host.copyIn(Buffer.from(JSON.stringify(config)), `/etc/kmend-agent/config.d/${name}.json`);
  // A loader that is still there from the last order goes by what it read when it started.
  await patched.host.check('sync && systemctl restart kmend-agent.service kmend-loader.service');
}

/** A function of the kernel itself that the livepatch built as `name` patches. */
async function patchedFunction(name: string): Promise<string> {
  const manifest = Livepatch.parse(JSON.parse(await readFile(join(operator.home, name, MANIFEST), 'utf8')));
  const [first] = manifest.objects.find((it) => it.name === 'vmlinux')?.functions ?? [];
  assert.ok(first !== undefined);
  return first.name;
}

/** A check ends with that code, `doctor` says why, and the kernel was handed nothing. */
async function refused(code: string): Promise<void> {
  const { exitCode, json } = await agent('check');
  assert.deepEqual([exitCode, json.error?.code], [5, code]);
  assert.deepEqual(await patched.loadedModules(), []);
  const doctor = await agent('doctor');
  assert.equal(doctor.exitCode, 1);
  assert.match(doctor.text, new RegExp(code));
}

async function bootHost(name: string): Promise<PatchedHost> {
  // One processor, as in the other tests of the agent: two guests at a time share the two of a small machine.
  const preparation = agentInstalled(await buildAgentPackage({ out: join(operator.home, 'deb') }));
  const options = { name, cpus: 1, reachesOperator: true, preparation };
  const made = new PatchedHost(await lab.boot(await kernels.open(KERNEL), options), lab, operator, systemClock);
  await made.enrol(server, key, { soakSeconds: 1 });
  return made;
}

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args), [...FIXES, MORE]);
  server = await operator.startServer();
  await operator.kmend('policy', 'fleet', '--check-interval', '86400');
  key = (await operator.kmend<{ key: string }>('key', 'create', '--name', 'lab', '--seats', '1')).key;
  await publish('one', aead.id);
  patched = await bootHost('held');
});
after(async () => {
  await lab.close();
  await server?.stop();
  await operator.remove();
});

test('the units are hardened: what talks to the network can load nothing, what loads has no network', async (t) => {
  const scores: Record<string, number> = {};
  for (const unit of UNITS.filter((it) => it.endsWith('.service'))) {
    const said = await patched.host.check(['systemd-analyze', 'security', unit.replace('@.', '@1.'), '--no-pager']);
    scores[unit] = Number(/Overall exposure level for .*: (\d+\.\d+)/.exec(said)?.[1]);
    t.diagnostic(`systemd-analyze security ${unit}: ${scores[unit]}`);
  }
  assert.ok((scores['kmend-agent.service'] ?? 10) <= 1.5, JSON.stringify(scores));
  assert.ok((scores['kmend-agent-report.service'] ?? 10) <= 1.5, JSON.stringify(scores));
  for (const [unit, score] of Object.entries(scores)) assert.ok(score <= 3.5, `${unit} ${score}`);
  // The fetcher's user reaches one of the loader's sockets, which takes no order of a person.
  const asFetcher = ['setpriv', '--reuid=kmend-agent', '--regid=kmend-agent', '--clear-groups', '--bounding-set=-all'];
  const reach = (socket: string) =>
    `require('net').connect('/run/kmend-agent/${socket}').on('connect', () => process.exit(0)).on('error', () => process.exit(7))`;
  const node = '/usr/lib/kmend-agent/node';
  const may = async (socket: string) => (await patched.host.run([...asFetcher, node, '-e', reach(socket)])).exitCode;
  assert.deepEqual([await may('consider.sock'), await may('loader.sock')], [0, 7]);
  const load = await patched.host.run([
    ...asFetcher,
    'sh',
    '-c',
    'modprobe af_alg; cat /proc/self/status | grep CapBnd',
  ]);
  assert.match(load.stdout, /CapBnd:\s*0+$/m);
  assert.match(load.stderr, /not permitted/);
  const identity = '/var/lib/kmend-agent/fetcher/identity.json';
  assert.equal(await patched.host.check(`stat -c '%a %U' ${identity}`), '600 kmend-agent');
});

test('a command of root’s runs the fetcher in that sandbox: no terminal, no word of root’s environment; its files are read as a stranger’s', async () => {
  const { host } = patched;
  // Whoever took the fetcher over tells what is within reach.
  const tells =
    'read -r line; t="$(cut -d" " -f7 /proc/$$/stat) $(id -un)"; e=$(env | grep -c "^SECRET=") || :; printf \'{"note":"%s %s"}\\n{"exit":4}\\n\' "$t" "$e"';
  const unit = '/etc/systemd/system/kmend-agent-command@.service.d';
  await host.copyIn(Buffer.from(`#!/bin/sh\n${tells}\n`), '/usr/local/bin/taken-over', 0o755);
  await host.copyIn(Buffer.from('[Service]\nExecStart=\nExecStart=/usr/local/bin/taken-over\n'), `${unit}/taken.conf`);
  await host.check('systemctl daemon-reload');
  const seen = await host.run('SECRET=x script -qec "kmend-agent check" /dev/null');
  assert.match(seen.stdout, /^0 kmend-agent 0\r?$/m, seen.stdout);
  await host.check(`rm -r ${unit} && systemctl daemon-reload`);
  const contact = '/run/kmend-agent/fetcher/contact.json';
  await host.check(
    `systemctl stop kmend-agent && rm -f ${contact} && mkfifo ${contact} && chown kmend-agent: ${contact}`,
  );
  const waited = await host.run('timeout 60 kmend-agent status; timeout 60 kmend-agent doctor', { timeoutMs: 180_000 });
  assert.match(waited.stdout, /contact +untrusted .*contact\.json is not a regular file/);
  await host.check(`rm ${contact} && systemctl start kmend-agent`);
});

test('hold keeps what runs, over a newer livepatch and a reboot; resume lets it in; apply --serial goes back and stays', async () => {
  // The service may have been there first.
  assert.equal((await agent('check')).exitCode, 0);
  await patched.untilReported(1);
  const [older] = await patched.loadedModules();
  assert.equal((await agent('hold', '--reason', 'change freeze', '--until', '8h')).exitCode, 0);
  await publish('two', aead.id, MORE.id);
  assert.equal((await agent('check')).json.reason, 'held');
  await patched.host.reboot();
  const held = await status();
  assert.deepEqual([held.effectiveSerial, held.hold?.kind, held.chosenSerial], [1, 'stay', null]);
  assert.equal((await agent('resume')).exitCode, 0);
  assert.equal((await agent('check')).json.serial, 2);
  const back = await agent('revert', '--previous');
  assert.deepEqual([back.exitCode, back.json.serial], [0, 1], back.text);
  assert.deepEqual(await patched.loadedModules(), [older]);
  assert.equal((await agent('resume')).exitCode, 0);
  assert.equal((await agent('apply')).json.serial, 2);
  const { stdout } = await patched.host.run(['kmend-agent', 'uname']);
  assert.match(stdout, new RegExp(`^${KERNEL} .*\\+kmend2\n$`));
});

test('a power cut in the soak: that livepatch is quarantined and said, the last good one is in force again', async () => {
  await configure('60-soak', { soakSeconds: 86_400 });
  await publish('three', aead.id, FIXES[0].id);
  const { json } = await agent('check');
  assert.deepEqual([json.state, json.serial], ['soak', 3]);
  await patched.host.powerOffHard();
  await patched.host.start();
  const after = await status();
  assert.equal(after.effectiveSerial, 2);
  assert.deepEqual(
    after.quarantined.map((it) => [it.serial, it.code]),
    [[3, 'crashed']],
  );
  const told = await agent('doctor');
  assert.match(told.text, /serial 3 is quarantined.*went down without an orderly shutdown/);
  assert.equal((await agent('check')).json.reason, 'quarantined');
  assert.equal(await patched.reproduce(aead.id), 'fixed');
  // In the soak after its re-application it says nothing of one that came through a soak before.
  await patched.host.powerOffHard();
  await patched.host.start();
  const again = await status();
  assert.deepEqual([again.effectiveSerial, again.state], [2, 'soak']);
  assert.deepEqual(
    again.quarantined.map((it) => it.serial),
    [3],
  );
  assert.equal((await codes()).filter((it) => it === 'went-down').length, 1);
});

/** Codes of what happened on the host, oldest first. */
async function codes(): Promise<string[]> {
  const { json } = await agent('history');
  return json.events.map((it: { code: string }) => it.code);
}

test('an offline update, which never reaches multi-user.target, is no crash', async () => {
  const { host } = patched;
  const before = (await codes()).filter((it) => it === 'load-started').length;
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
  const after = await status();
  assert.equal(after.effectiveSerial, 2);
  assert.deepEqual(
    after.quarantined.map((it) => it.serial),
    [3],
  );
  const said = await codes();
  assert.equal(said.filter((it) => it === 'load-started').length, before + 2, 'both boots loaded it');
  assert.equal(await host.check('systemctl is-active kmend-agent-boot.service'), 'active');
  assert.equal(said.filter((it) => it === 'went-down').length, 1, 'only the power cut before');
});

test('the file switch: nothing is loaded, by whatever way, until it is gone', async () => {
  await patched.host.check('rm /etc/kmend-agent/config.d/60-soak.json; touch /etc/kmend-agent/off');
  await patched.host.reboot();
  assert.deepEqual(await patched.loadedModules(), []);
  assert.equal((await agent('resume')).exitCode, 0);
  assert.equal((await agent('check')).json.reason, 'switched-off');
  const refused = await agent('apply');
  assert.deepEqual([refused.exitCode, refused.json.reason], [5, 'switched-off']);
  assert.match((await agent('doctor')).text, /\/etc\/kmend-agent\/off is there/);
  await patched.host.check('rm /etc/kmend-agent/off');
});

test('what is in the way of a load is told by its code, nothing is loaded, and it goes on when that is gone', async () => {
  const { host } = patched;
  const tracing = '/sys/kernel/tracing';
  const body = `echo 'p:lab/body ${await patchedFunction('three')}+5'`;
  await host.check(`${body} >>${tracing}/kprobe_events && echo 1 >${tracing}/events/lab/body/enable`);
  await refused('conflict-kprobe');
  await host.check(`echo 0 >${tracing}/events/lab/body/enable && echo '-:lab/body' >>${tracing}/kprobe_events`);
  await host.check('sysctl kernel.ftrace_enabled=0');
  await refused('conflict-ftrace');
  await host.check('sysctl kernel.ftrace_enabled=1');
  const rival = '[Auth]\naccesskey = 0123456789abcdef0123456789abcdef\n[Settings]\nupgrade_on_reboot = yes\n';
  await host.copyIn(Buffer.from(rival), '/etc/uptrack/uptrack.conf');
  await refused('conflict-agent');
  await host.check('rm -r /etc/uptrack');
  const away = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
  await configure('70-window', { maintenanceWindows: [{ from: away(2), to: away(3), timeZone: 'UTC' }] });
  // What was good before comes back at once; what never was waits for its window.
  assert.equal((await agent('check')).json.serial, 2);
  assert.deepEqual([(await agent('check')).json.reason, (await status()).effectiveSerial], ['window', 2]);
  await configure('70-window', {});
  assert.equal((await agent('check')).json.serial, 3);
});

test('air gap: a carried bundle brings the livepatch without a network, and the report comes back as a file', async () => {
  await publish('four', aead.id, FIXES[0].id, MORE.id);
  const bundle = join(operator.home, 'bundle.tar');
  await operator.kmend('repo', 'bundle', '--kernel', KERNEL, '--out', bundle);
  await server.stop();
  await patched.host.copyIn(bundle, '/root/bundle.tar', 0o600);
  assert.equal((await agent('check')).json.error.code, 'repository-unreachable');
  const done = await agent('check', '--bundle', '/root/bundle.tar', '--report', '/root/report.json');
  assert.equal(done.exitCode, 0, done.text);
  const report = join(operator.home, 'report.json');
  const bytes = await patched.host.readFile('/root/report.json');
  assert.equal(JSON.parse(bytes.toString()).report.effectiveSerial, 4);
  await writeFile(report, bytes);
  // A bundle that was changed on its way is not believed.
  const bad = Buffer.from(await readFile(bundle));
  // The signature of timestamp.json, in the archive behind the file's name.
  const at = bad.indexOf('"sig":', bad.indexOf('metadata/timestamp.json')) + 10;
  bad[at] = (bad[at] ?? 0) ^ 1;
  await patched.host.copyIn(bad, '/root/bad.tar');
  const refused = await agent('check', '--bundle', '/root/bad.tar');
  assert.equal(refused.exitCode, 5, refused.text);
  assert.match(refused.text, /"code": "repository-/);
  assert.equal((await agent('check', '--bundle', '/root/none.tar')).json.error.code, 'bundle-unreadable');
  server = await operator.startServer('--port', String(server.port));
  await operator.kmend('host', 'import', report);
  assert.equal((await patched.seen()).effectiveSerial, 4);
});

/** Switches the host on anew, with more arguments for its kernel. */
async function boot(argument: string): Promise<void> {
  await patched.host.shutdown();
  await patched.host.start({ kernelArguments: [argument] });
}

test('a kernel that is locked down takes signed modules only, and one may take none at all: said in time, nothing is handed to it', async () => {
  await boot('lockdown=integrity');
  await refused('lockdown');
  await patched.host.check('sysctl kernel.modules_disabled=1');
  await refused('modules-disabled');
  assert.deepEqual((await status()).quarantined, []);
});

test('kmend=off on the kernel command line: nothing is loaded in that boot', async () => {
  await boot('kmend=off');
  assert.equal((await agent('check')).json.reason, 'switched-off');
  assert.deepEqual(await patched.loadedModules(), []);
  assert.match((await agent('doctor')).text, /kmend=off on the kernel command line/);
});

test('a state that is mounted over the network: no ordering cycle, and the last good one is back, later in the boot', async () => {
  const { host } = patched;
  const state = '/var/lib/kmend-agent';
  const acting = 'kmend-agent.service kmend-loader.socket kmend-loader-consider.socket';
  // As with NFS: the mount waits for a network that takes a moment to come.
  await host.copyIn(Buffer.from(LATE_NETWORK), '/etc/systemd/system/lab-network.service');
  await host.check(`systemctl enable lab-network.service && systemctl stop ${acting} kmend-loader.service
    mkdir /srv/state && cp -a ${state}/. /srv/state/ && rm -r ${state}/*
    echo '/srv/state ${state} none bind,_netdev 0 0' >>/etc/fstab && sync`);
  await host.reboot();
  // Of systemd alone, by its name: before journald runs its lines come through the kernel log, without a process. The guest agent writes there too,
  // every command that it is given.
  assert.equal(await host.check(`journalctl -b -o cat -t systemd | grep 'ordering cycle' || :`), '');
  const units = 'kmend-agent-boot-late.service kmend-agent-shutdown.service kmend-agent.service';
  assert.equal(await host.check(`findmnt ${state} >/dev/null; systemctl is-active ${units} | sort -u`), 'active');
  const after = await status();
  assert.deepEqual([after.effectiveSerial, after.quarantined], [4, []]);
  await host.check(`systemctl stop ${acting} kmend-loader.service && umount ${state} && cp -a /srv/state/. ${state}/
    sed -i /_netdev/d /etc/fstab && systemctl daemon-reload && systemctl start ${acting}`);
});

test('upgrade and removal of the package leave the livepatch in the kernel', async () => {
  const before = await patched.loadedModules();
  assert.equal(before.length, 1);
  const { path } = await buildAgentPackage({ out: join(operator.home, 'newer'), version: '9.9.9' });
  await patched.install(path);
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal((await agent('check')).exitCode, 0);
  const newer = await status();
  assert.deepEqual([newer.effectiveSerial, newer.status.verified.state], [4, 'verified']);
  await patched.host.check(['dpkg', '--remove', 'kmend-agent'], { timeoutMs: 120_000 });
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal(await patched.reproduce(aead.id), 'fixed');
  await patched.host.check(['dpkg', '--purge', 'kmend-agent'], { timeoutMs: 120_000 });
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal(
    await patched.host.check('ls -d /var/lib/kmend-agent /run/kmend-agent /etc/kmend-agent 2>/dev/null | wc -l'),
    '0',
  );
  assert.deepEqual(await patched.complaints(), []);
});
