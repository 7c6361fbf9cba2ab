import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

const isRetried = (host: TestHost): boolean => existsSync(host.path('/run/kmend-livepatch/retry'));
const MINUTE = 60;

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: reverts a transition at its limit, and retries after growing pauses`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    const beside = host.install({ position: 3 });
    host.write('/fake/blocked', '');
    host.write('/proc/812/task/813/patch_state', '0\n');
    host.write('/proc/812/task/813/comm', 'sleeper\n');
    assert.equal((await host.run('sync', '--package')).code, 0);
    host.passes(800);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['transition-stuck', [first.module]]);
    // Its time is over: the kernel turns it round, which takes its time too.
    host.passes(100);
    const ran = await host.run('sync');
    assert.equal(ran.code, 5);
    assert.match(ran.err, /did not end and is reversed; it is retried in 15 minutes; blocked by: sleeper \(813\)/);
    assert.deepEqual([host.outcome(), host.enabled(), host.state('quarantined')], ['deferred', [], []]);
    host.remove('/fake/blocked');
    host.calls();
    // What does not depend on it is loaded meanwhile.
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), [`rmmod ${first.module}`, `insmod ${beside.module}`]);
    assert.deepEqual(host.problems(), [`deferred ${first.module}`, `below-missing ${second.name}`]);
    assert.ok(isRetried(host));
    host.passes(12 * MINUTE);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.calls(), host.enabled()], [[], [beside.module]]);
    host.passes(3 * MINUTE);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual([host.enabled().length, host.state('deferred'), isRetried(host)], [3, [], false]);
  });

  test(`${name}: doubles the pause each time, up to six hours, until the next boot`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    for (const minutes of [15, 30, 60, 120, 240, 360, 360]) {
      host.calls();
      host.write('/fake/blocked', '');
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual([host.outcome(), host.calls()], ['transition-stuck', [`insmod ${module}`]], `${minutes}`);
      host.passes(901);
      const ran = await host.run('sync');
      assert.match(ran.err, new RegExp(`retried in ${minutes} minutes`));
      host.remove('/fake/blocked');
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual([host.outcome(), host.enabled(), host.modules()], ['deferred', [], []]);
      host.passes(minutes * MINUTE - 120);
      assert.equal((await host.run('sync')).code, 5);
      assert.equal(host.outcome(), 'deferred');
      host.passes(120);
    }
    host.passes(-3 * MINUTE);
    assert.equal((await host.run('sync')).code, 5);
    assert.equal((await host.run('shutdown')).code, 0);
    host.boot();
    host.write('/etc/kmend-livepatch/off', '');
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual([host.state('deferred'), isRetried(host)], [[], false]);
    host.remove('/etc/kmend-livepatch/off');
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: retries at once after resume, and starts a new revision without a delay`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    host.write('/fake/blocked', '');
    host.write('/etc/kmend-livepatch/config', 'wait 6\ntake-back 5\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['deferred', []]);
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 5);
    assert.equal((await host.run('resume')).code, 0);
    assert.deepEqual([host.enabled(), host.state('deferred')], [[module], []]);
  });

  test(`${name}: continues in the same run after a quick revert`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    host.write('/fake/blocked-in', '');
    assert.equal((await host.run('sync')).code, 5);
    const beside = host.install({ position: 2 });
    host.passes(901);
    host.calls();
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), [`rmmod ${module}`, `insmod ${beside.module}`]);
    assert.deepEqual(host.problems(), [`deferred ${module}`, `transition-stuck ${beside.module}`]);
  });

  test(`${name}: never reverts with take-back 0`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    host.write('/fake/blocked', '');
    host.write('/etc/kmend-livepatch/config', 'wait 6\ntake-back 0\n');
    assert.equal((await host.run('sync')).code, 5);
    host.passes(90_000);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['transition-stuck', [module]]);
  });

  test(`${name}: keeps in force what it was to replace`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    const cumulative = host.install({ position: 2, kind: 'cumulative', version: '1.1' });
    host.write('/fake/blocked', '');
    assert.equal((await host.run('sync')).code, 5);
    host.passes(901);
    assert.equal((await host.run('sync')).code, 5);
    assert.equal(host.outcome(), 'deferred');
    host.remove('/fake/blocked');
    host.calls();
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(
      [host.enabled(), host.calls()],
      [stack.map((it) => it.module).sort(), [`rmmod ${cumulative.module}`]],
    );
    host.passes(901);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [cumulative.module]);
  });

  test(`${name}: reverses a transition in the next run if the last one died before it did`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    host.write('/fake/blocked', '');
    assert.equal((await host.run('sync')).code, 5);
    host.passes(901);
    // As it is on disk just before `enabled` is written.
    const boot = host.read('/proc/sys/kernel/random/boot_id').trim();
    const uptime = Number(host.read('/proc/uptime').split('.')[0]) * 100;
    const state = host.read('/var/lib/kmend-livepatch/state').replace(/ transition \d+ /, ` reverting ${uptime} `);
    host.write('/var/lib/kmend-livepatch/state', `${state}deferred ${module} ${boot} 1 ${uptime + 90_000}\n`);
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled(), host.modules()], ['deferred', [], []]);
  });
}
