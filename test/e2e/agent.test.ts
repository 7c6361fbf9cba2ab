import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildAgentPackage, UNITS } from '@kmend/agent/package';
import { FIXES, KERNEL, MORE, type PatchedHost } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import { OperatedHost } from '../lib/operated-host.ts';

const [, aead] = FIXES;

/**
 * What an operator does with a host besides letting it run: hold it, go back, carry updates by hand, upgrade and remove
 * the package. Tests continue where the last one ended.
 */
let operated: OperatedHost;
let patched: PatchedHost;
let host: Host;

before(async () => {
  operated = await OperatedHost.make('held');
  ({ patched, host } = operated);
  await operated.publish('one', aead.id);
});
after(() => operated?.close());

test('hardens the units: the fetcher can load nothing, and the loader has no network', async (t) => {
  const scores: Record<string, number> = {};
  for (const unit of UNITS.filter((it) => it.endsWith('.service'))) {
    const said = await host.check(['systemd-analyze', 'security', unit.replace('@.', '@1.'), '--no-pager']);
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
  const may = async (socket: string) => (await host.run([...asFetcher, node, '-e', reach(socket)])).exitCode;
  assert.deepEqual([await may('consider.sock'), await may('loader.sock')], [0, 7]);
  const load = await host.run([...asFetcher, 'sh', '-c', 'modprobe af_alg; cat /proc/self/status | grep CapBnd']);
  assert.match(load.stdout, /CapBnd:\s*0+$/m);
  assert.match(load.stderr, /not permitted/);
  const identity = '/var/lib/kmend-agent/fetcher/identity.json';
  assert.equal(await host.check(`stat -c '%a %U' ${identity}`), '600 kmend-agent');
});

test('runs the fetcher in its sandbox for a command of root, without terminal and environment; root does not trust its files', async () => {
  // An attacker who controls the fetcher tries what is within reach.
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
  const waited = await host.run('timeout 250 kmend-agent status; timeout 250 kmend-agent doctor', {
    timeoutMs: 600_000,
  });
  assert.match(waited.stdout, /contact +untrusted .*contact\.json is not a regular file/);
  await host.check(`rm ${contact} && systemctl start kmend-agent`);
});

test('hold keeps the livepatch in force over a newer one and a reboot; resume loads it; apply --serial goes back and holds', async () => {
  // The service may have been there first.
  assert.equal((await operated.agent('check')).exitCode, 0);
  await patched.untilReported(1);
  const [older] = await patched.loadedModules();
  assert.equal((await operated.agent('hold', '--reason', 'change freeze', '--until', '8h')).exitCode, 0);
  await operated.publish('two', aead.id, MORE.id);
  assert.equal((await operated.agent('check')).json.reason, 'held');
  await host.reboot();
  const held = await operated.status();
  assert.deepEqual([held.effectiveSerial, held.hold?.kind, held.chosenSerial], [1, 'stay', null]);
  assert.equal((await operated.agent('resume')).exitCode, 0);
  await operated.takes(2);
  const back = await operated.agent('revert', '--previous');
  assert.deepEqual([back.exitCode, back.json.serial], [0, 1], back.text);
  assert.deepEqual(await patched.loadedModules(), [older]);
  assert.equal((await operated.agent('resume')).exitCode, 0);
  assert.equal((await operated.agent('apply')).json.serial, 2);
  const { stdout } = await host.run(['kmend-agent', 'uname']);
  assert.match(stdout, new RegExp(`^${KERNEL} .*\\+kmend2\n$`));
});

test('reports each obstacle of a load by code, loads nothing, and continues when it is gone', async () => {
  await operated.publish('three', aead.id, FIXES[0].id);
  await operated.untilGood();
  // Without the switch, the service's turn after resume may load serial 2, before it has heard of 3.
  await host.check('touch /etc/kmend-agent/off');
  assert.equal((await operated.agent('revert')).exitCode, 0);
  assert.equal((await operated.agent('resume')).exitCode, 0);
  assert.equal((await operated.agent('check')).json.reason, 'switched-off');
  const tracing = '/sys/kernel/tracing';
  const body = `echo 'p:lab/body ${await operated.patchedFunction('three')}+5'`;
  await host.check(`${body} >>${tracing}/kprobe_events && echo 1 >${tracing}/events/lab/body/enable`);
  await host.check('rm /etc/kmend-agent/off');
  await operated.refused('conflict-kprobe');
  await host.check(`echo 0 >${tracing}/events/lab/body/enable && echo '-:lab/body' >>${tracing}/kprobe_events`);
  await host.check('sysctl kernel.ftrace_enabled=0');
  await operated.refused('conflict-ftrace');
  await host.check('sysctl kernel.ftrace_enabled=1');
  const rival = '[Auth]\naccesskey = 0123456789abcdef0123456789abcdef\n[Settings]\nupgrade_on_reboot = yes\n';
  await host.copyIn(Buffer.from(rival), '/etc/uptrack/uptrack.conf');
  await operated.refused('conflict-agent');
  await host.check('rm -r /etc/uptrack');
  const away = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
  await operated.configure('70-window', { maintenanceWindows: [{ from: away(2), to: away(3), timeZone: 'UTC' }] });
  // What was good before comes back at once; what never was waits for its window.
  await operated.takes(2);
  assert.deepEqual(
    [(await operated.agent('check')).json.reason, (await operated.status()).effectiveSerial],
    ['window', 2],
  );
  await operated.configure('70-window', {});
  await operated.takes(3);
});

test('loads from a carried bundle without a network, and writes the report to a file', async () => {
  await operated.publish('four', aead.id, FIXES[0].id, MORE.id);
  const bundle = join(operated.operator.home, 'bundle.tar');
  await operated.operator.kmend('repo', 'bundle', '--kernel', KERNEL, '--out', bundle);
  const bytes = await operated.withoutServer(async () => {
    await host.copyIn(bundle, '/root/bundle.tar', 0o600);
    assert.equal((await operated.agent('check')).json.error.code, 'repository-unreachable');
    const done = await operated.agent('check', '--bundle', '/root/bundle.tar', '--report', '/root/report.json');
    assert.equal(done.exitCode, 0, done.text);
    // A bundle that was changed in transit is refused.
    const bad = Buffer.from(await readFile(bundle));
    // The signature of timestamp.json, in the archive behind the file's name.
    const at = bad.indexOf('"sig":', bad.indexOf('metadata/timestamp.json')) + 10;
    bad[at] = (bad[at] ?? 0) ^ 1;
    await host.copyIn(bad, '/root/bad.tar');
    const refused = await operated.agent('check', '--bundle', '/root/bad.tar');
    assert.equal(refused.exitCode, 5, refused.text);
    assert.match(refused.text, /"code": "repository-/);
    assert.equal((await operated.agent('check', '--bundle', '/root/none.tar')).json.error.code, 'bundle-unreadable');
    return await host.readFile('/root/report.json');
  });
  assert.equal(JSON.parse(bytes.toString()).report.effectiveSerial, 4);
  const report = join(operated.operator.home, 'report.json');
  await writeFile(report, bytes);
  await operated.operator.kmend('host', 'import', report);
  assert.equal((await patched.seen()).effectiveSerial, 4);
});

test('leaves the livepatch in the kernel when the package is upgraded and removed', async () => {
  const before = await patched.loadedModules();
  assert.equal(before.length, 1);
  const { path } = await buildAgentPackage({ out: join(operated.operator.home, 'newer'), version: '9.9.9' });
  await patched.install(path);
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal((await operated.agent('check')).exitCode, 0);
  const newer = await operated.status();
  assert.deepEqual([newer.effectiveSerial, newer.status.verified.state], [4, 'verified']);
  await host.check(['dpkg', '--remove', 'kmend-agent'], { timeoutMs: 600_000 });
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal(await patched.reproduce(aead.id), 'fixed');
  await host.check(['dpkg', '--purge', 'kmend-agent'], { timeoutMs: 600_000 });
  assert.deepEqual(await patched.loadedModules(), before);
  assert.equal(
    await host.check('ls -d /var/lib/kmend-agent /run/kmend-agent /etc/kmend-agent 2>/dev/null | wc -l'),
    '0',
  );
  assert.deepEqual(await patched.complaints(), []);
});
