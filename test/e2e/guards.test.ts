import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { SLEEPER } from '@kmend/campaign';
import { NEVER_ENDS as EDIT_THAT_NEVER_ENDS, WARNS_IN_PATCHED } from '@kmend/campaign/livepatches';
import { FIXES, META, NOTE, type PackagedHost, patchOf, Setting } from '@kmend/harness';

/**
 * What guards a host without the agent, each provoked on a real kernel: a stacked livepatch that cannot be, or must not
 * stay, in force.
 */
const [options] = FIXES;
const WARNS = 'warns';
const NEVER_ENDS = 'never-ends';
let setting: Setting;
let packaged: PackagedHost;
const folders = new Map<string, string>();

before(async () => {
  setting = await Setting.make(new AbortController().signal);
  const { operator, publisher } = setting;
  for (const [id, { path, edit }] of [
    [WARNS, WARNS_IN_PATCHED],
    [NEVER_ENDS, EDIT_THAT_NEVER_ENDS],
  ] as const)
    await operator.kmend('fix', 'import', '--id', id, '--patch', await patchOf(operator, path, edit));
  for (const fix of [options.id, NOTE, NEVER_ENDS, WARNS]) folders.set(fix, await publisher.buildStacked(fix));
  packaged = await setting.boot('guarded');
  await packaged.host.copyIn(Buffer.from('wait 2\ntake-back 10\n'), '/etc/kmend-livepatch/config');
  await packaged.follow(await setting.offer(folders.get(options.id)));
  await packaged.mustApt('install', META);
});
after(() => setting.close());

async function inForce(fixes: readonly string[], codes: readonly string[]): Promise<void> {
  const { problems } = await packaged.status();
  assert.deepEqual([await packaged.fixes(), problems.map(({ code }) => code)], [fixes, codes]);
  assert.equal(await packaged.unconfigured(), '');
}

test('does not load while a kprobe is inside a function, and loads after it is removed', async () => {
  const probe = '/sys/kernel/tracing';
  await packaged.host.check(
    `echo 'p:lab/body version_proc_show+5' >>${probe}/kprobe_events && echo 1 >${probe}/events/lab/body/enable`,
  );
  await setting.offer(folders.get(NOTE));
  await packaged.mustApt('update');
  await packaged.mustApt('install', META);
  await inForce([options.id], ['conflict-kprobe']);
  await packaged.host.check(
    `echo 0 >${probe}/events/lab/body/enable && echo '-:lab/body' >>${probe}/kprobe_events && kmend-livepatch sync`,
  );
  await inForce([options.id, NOTE], []);
});

test('reports a transition that a stopped process blocks, reverts it, and completes it when the process continues', async () => {
  await packaged.host.check(SLEEPER.hold);
  await setting.offer(folders.get(NEVER_ENDS));
  await packaged.mustApt('update');
  await packaged.mustApt('install', META);
  await inForce([options.id, NOTE], ['transition-stuck']);
  const { problems } = await packaged.status();
  assert.match(JSON.stringify(problems), new RegExp(SLEEPER.task));
  await packaged.host.check('sleep 10; kmend-livepatch sync || :');
  await inForce([options.id, NOTE], ['deferred']);
  assert.equal((await packaged.enabled()).length, 2);
  await packaged.host.check(SLEEPER.release);
  await packaged.livepatch('resume');
  await inForce([options.id, NOTE, NEVER_ENDS], []);
});

test('reverts and quarantines a livepatch whose function warns, and keeps those below it', async () => {
  const under = [options.id, NOTE, NEVER_ENDS];
  await setting.offer(folders.get(WARNS));
  await packaged.mustApt('update');
  await packaged.mustApt('install', META);
  await inForce([...under, WARNS], []);
  await packaged.host.check('cat /proc/execdomains >/dev/null; kmend-livepatch soaked || :');
  await inForce(under, ['kernel-complaint']);
  assert.match((await packaged.livepatch('status')).stdout, /kmend-test: warns|execdomains_proc_show/);
});
