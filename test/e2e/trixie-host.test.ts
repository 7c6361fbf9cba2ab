import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildAgentPackage, UNITS } from '@kmend/agent/deb';
import { systemClock } from '@kmend/base/node';
import {
  AGENT_HOST,
  agentInstalled,
  Operator,
  openLab,
  PackagedHost,
  PatchedHost,
  Publisher,
  patchIn,
  type ServerProcess,
  SHARED_FLAWS,
  TRIXIE,
  trixieTree,
} from '@kmend/harness';
import type { Host } from '@kmend/lab';
import type { Livepatch, Proof } from '@kmend/protocol';
import { LONG_FORM } from '../lib/long-form.ts';

/**
 * A Debian 13 host with its own kernel, from the proof of a livepatch to a withdrawn one: first the packages drive it,
 * then the agent. Tests continue where the last one ended.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
let server: ServerProcess;
let key = '';
let host: Host;
let patched: PatchedHost;

const out = (name: string): string => join(operator.home, name);
const [clock, text] = SHARED_FLAWS;

/** Adds a line to /proc/version. */
const says = (text: string): string =>
  text.replace(/(\treturn 0;\n\}\n\nstatic int __init)/, '\tseq_puts(m, "more\\n");\n$1');

/** poll() of 1,021 files is not permitted. Its function has a constant that the kernel writes into the code at boot. */
const refusesPoll = (text: string): string =>
  text.replace(/(\tif \(nfds > rlimit\(RLIMIT_NOFILE\)\)\n)/, '\tif (nfds == 1021)\n\t\treturn -EPERM;\n$1');

/** What poll() of so many files says, none of which is open: 0, or the error. */
async function polled(files: number): Promise<string> {
  // Seven is poll(2); a negative descriptor is skipped.
  const program = `my $all = pack("lss", -1, 0, 0) x ${files}; print syscall(7, $all, ${files}, 0) ? $! : 0`;
  return await host.check(`perl -e '${program}'`);
}

before(async () => {
  const tree = await trixieTree(operator);
  const { suite, from, to } = TRIXIE;
  for (const { id, path } of SHARED_FLAWS) {
    const range = ['--suite', suite, '--from', from, '--to', to, '--path', path];
    await operator.kmend('fix', 'import', '--id', id, ...range);
  }
  const added = await patchIn(operator, { tree, path: 'fs/proc/version.c' }, says);
  await operator.kmend('fix', 'import', '--id', 'more', '--patch', added);
  const polls = await patchIn(operator, { tree, path: 'fs/select.c' }, refusesPoll);
  await operator.kmend('fix', 'import', '--id', 'poll', '--patch', polls);
  server = await operator.startServer();
  await operator.kmend('policy', 'fleet', '--check-interval', '86400');
  ({ key } = await operator.kmend<{ key: string }>('key', 'create', '--name', 'lab', '--seats', '2'));
});
after(async () => {
  await lab.close();
  await server?.stop();
  await operator.remove();
});

async function build(name: string, ...ids: string[]): Promise<Livepatch> {
  const words = ['build', '--kernel', TRIXIE.kernel, '--accept-review', '--out', out(name)];
  return await operator.kmend<Livepatch>(...words, '--fix', ...ids);
}

/** What the reproducers say of the running kernel. */
const said = () => Promise.all(SHARED_FLAWS.map(({ id }) => patched.reproduce(id)));

/** `kmend-agent WORDS --json`, which has to succeed; once more while the service has a turn of its own. */
async function agent(...words: string[]): Promise<void> {
  const ask = () => host.run(['kmend-agent', ...words, '--json'], { timeoutMs: 600_000 });
  let answer = await ask();
  if (answer.stdout.includes('"code": "busy"')) answer = await ask();
  assert.equal(answer.exitCode, 0, `${words.join(' ')}: ${answer.stdout}${answer.stderr}`);
}

test('proves Debian’s fixes of two flaws on the stock kernel, and names the Debian system', async () => {
  await build('one', clock.id, text.id);
  const proof = await operator.kmend<Proof>('prove', out('one'), '--no-exercise', '--rounds', '2');
  assert.ok(proof.passed);
  assert.deepEqual(proof.reproduced, [clock.id, text.id]);
  assert.deepEqual(proof.ran?.map(({ object, name, count }) => [object, name, (count ?? 0) > 0]).sort(), [
    ['em_text', 'em_text_change', true],
    ['vmlinux', 'do_timens_ktime_to_host', false],
    ['vmlinux', 'proc_timens_set_offset', true],
  ]);
  const { root, cpus } = proof.lab;
  assert.equal(root?.suite, 'trixie');
  assert.match(root.packages['systemd'] ?? '', /^257\./);
  assert.ok(cpus === 2 || proof.notShown.some((line) => line.includes('one processor')));
});

test('boots a Debian 13 host with the agent installed', async () => {
  const preparation = await agentInstalled((await buildAgentPackage({ out: out('deb') })).path);
  // Without unattended-upgrades, which starts Python in every boot.
  const options = { ...AGENT_HOST, name: 'trixie', packages: ['gpgv'], preparation };
  host = await lab.boot(await kernels.open(TRIXIE.kernel), options);
  patched = new PatchedHost(host, lab, operator, systemClock);
  assert.match(await host.check('cat /etc/os-release'), /^VERSION_CODENAME=trixie$/m);
});

test('loads a livepatch that apt installs, again after a reboot, and reverts it on purge', LONG_FORM, async () => {
  const publisher = await Publisher.make(operator, server, TRIXIE.kernel);
  const packaged = new PackagedHost(host);
  await publisher.add(await publisher.buildStacked(clock.id));
  await packaged.follow(await publisher.publish(key));
  await packaged.mustApt('install', 'livepatch-amd64');
  assert.deepEqual(await packaged.fixes(), [clock.id]);
  await host.reboot();
  const status = await packaged.status();
  assert.deepEqual([status.outcome?.code, await packaged.fixes()], ['in-force', [clock.id]]);
  assert.deepEqual(await said(), ['fixed', 'vulnerable']);
  assert.deepEqual([await patched.complaints(), await packaged.unconfigured()], [[], '']);

  await packaged.mustApt('purge', '--autoremove', 'livepatch-*', 'kmend-livepatch');
  assert.deepEqual(await patched.loadedModules(), []);
});

test('systemd 257 takes every unit of the agent without a remark', async () => {
  const paths = UNITS.map((unit) => `/usr/lib/systemd/system/${unit}`);
  const { exitCode, stdout, stderr } = await host.run(['systemd-analyze', 'verify', '--man=no', ...paths]);
  assert.deepEqual([exitCode, `${stdout}${stderr}`], [0, '']);
});

test('the agent enrols, loads a proven livepatch, and replaces it by a newer one', async () => {
  assert.deepEqual(await said(), ['vulnerable', 'vulnerable']);
  await operator.kmend('publish', out('one'));
  await patched.enrol(server, key, { soakSeconds: 1 });
  await agent('check');
  assert.equal((await patched.untilReported(1)).status.verified.state, 'verified');
  assert.deepEqual(await said(), ['fixed', 'fixed']);

  assert.equal(await polled(1021), '0');
  const second = await build('two', clock.id, text.id, 'more', 'poll');
  await operator.kmend('publish', out('two'), '--unproven');
  await agent('check');
  await patched.untilReported(2);
  assert.deepEqual(await patched.modulesAfterUnload(), [second.module]);
  assert.match(await host.check('cat /proc/version'), /\nmore$/);
  assert.deepEqual([await polled(1020), await polled(1021)], ['0', 'Operation not permitted']);
  assert.deepEqual(await said(), ['fixed', 'fixed']);
});

test('the agent re-applies the livepatch after a reboot without its server', async () => {
  await server.stop();
  await host.reboot();
  assert.match(await host.check('cat /proc/version'), /\nmore$/);
  assert.deepEqual([await polled(1020), await polled(1021)], ['0', 'Operation not permitted']);
  assert.deepEqual(await patched.complaints(), []);
  server = await operator.startServer('--port', String(server.port));
});

test('the agent goes back to the earlier livepatch when the newer one is withdrawn', async () => {
  await operator.kmend('policy', 'kernel', TRIXIE.kernel, '--withdraw', '2', '--reason', 'a trial');
  await operator.kmend('policy', 'kernel', TRIXIE.kernel, '--settle', '1');
  await agent('check');
  await patched.untilReported(1);
  assert.doesNotMatch(await host.check('cat /proc/version'), /\nmore$/);
  assert.deepEqual([await said(), await patched.complaints()], [['fixed', 'fixed'], []]);
});
