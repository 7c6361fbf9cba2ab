import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { nullPointer, stamped, warning } from '@kmend/rules/testing';
import { type Installed, shells, TestHost } from './testing/host.ts';

/** The kernel says something, at a moment of its own clock. */
function says(host: TestHost, lines: readonly string[], seconds: number): void {
  host.write('/fake/log', host.read('/fake/log') + stamped(lines, seconds));
}

const within = (it: Installed): string => `function_1+0x16/0x20 [${it.module}]`;

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: reverts what the kernel complains of with its dependants, and keeps the rest`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second, third] = host.installStack(3);
    assert.ok(first && second && third);
    const beside = host.install({ position: 4, on: [first.module] });
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    says(host, warning('mutex_lock+0x1/0x20', within(second)), 100);
    const ran = await host.run('soaked');
    assert.equal(ran.code, 5, ran.err);
    assert.match(ran.err, /the kernel reported warning in function_1 while it was watched: patched: 7 is wrong/);
    assert.equal(host.outcome(), 'kernel-complaint');
    assert.deepEqual(host.calls(), [`rmmod ${third.module}`, `rmmod ${second.module}`]);
    assert.deepEqual(host.enabled(), [first.module, beside.module].sort());
    assert.deepEqual(
      host.state('quarantined').map((it) => it.split(' ').slice(1, 3)),
      [[second.module, 'kernel-complaint']],
    );
    assert.ok(host.state('kernel-log').some((it) => it.endsWith(within(second))));
    assert.match((await host.run('status')).out, /^kernel log: WARNING: CPU: 1 /m);
    // It stays reverted, with the kernel's messages, until an administrator resumes; then only what comes after that
    // load counts.
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.calls(), host.outcome()], [[], 'quarantined']);
    assert.ok(host.state('kernel-log').length > 5);
    assert.equal((await host.run('resume')).code, 0);
    assert.equal(host.enabled().length, 4);
    assert.equal((await host.run('soaked')).code, 0);
    assert.deepEqual([host.state('quarantined'), host.state('kernel-log')], [[], []]);
  });

  test(`${name}: ignores log lines from before the load, and foreign ones`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    // Just before, and by a clock that is far ahead of the uptime.
    says(host, warning('function_1+0x1/0x20', within(only)), 5000);
    assert.equal((await host.run('sync')).code, 0);
    says(host, warning('e1000_clean+0x5f0/0x900 [e1000]', 'function_1+0x1/0x20'), 5001);
    says(host, warning('function_2+0x1/0x20'), 5002);
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 0);
    assert.deepEqual([host.enabled(), host.state('good').length], [[only.module], 1]);
    // It is trusted now.
    says(host, warning('function_1+0x1/0x20'), 5003);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [only.module]);
  });

  test(`${name}: counts a complaint of the last moment of a soak, also in the old body of what it patches`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    says(host, nullPointer('shared+0x1f0/0x1300 [ext4]'), 100);
    host.write('/proc/sys/kernel/tainted', '128\n');
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual([host.enabled(), host.state('good')], [[], []]);
    assert.match(
      host.state('quarantined')[0] ?? '',
      new RegExp(`${only.module} kernel-complaint \\S+ .*oops in shared`),
    );
    assert.equal(host.read('/run/kmend-livepatch/soak'), '');
  });

  test(`${name}: ends the run after a complaint right after a load, and tries a newer revision`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    host.write('/fake/says-loaded', stamped(warning('mutex_lock+0x1/0x20', within(first)), 100));
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual(host.calls(), [`insmod ${first.module}`, `rmmod ${first.module}`]);
    assert.deepEqual([host.outcome(), host.enabled()], ['kernel-complaint', []]);
    assert.deepEqual(host.problems().slice(0, 2), [`kernel-complaint ${first.module}`, `below-missing ${second.name}`]);
    host.remove('/fake/says-loaded');
    host.installStack(2, (position) => `${position}.2`);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 2);
  });

  test(`${name}: loads the stack again after a cumulative livepatch is reverted`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    const cumulative = host.install({ position: 2, kind: 'cumulative', version: '1.1' });
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [cumulative.module]);
    says(host, warning('mutex_lock+0x1/0x20', within(cumulative)), 100);
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual(host.enabled(), stack.map((it) => it.module).sort());
  });

  test(`${name}: reverts a harmful livepatch beside foreign ones and under a hold`, async (t) => {
    for (const word of ['foreign', 'hold', 'yield']) {
      const host = new TestHost(t, shell);
      const only = host.install({ position: 1 });
      assert.equal((await host.run('sync')).code, 0);
      if (word === 'foreign') host.loadForeign('kpatch_something');
      else assert.equal((await host.run(word)).code, 0);
      says(host, warning('function_1+0x1/0x20'), 100);
      await host.run('soaked');
      assert.deepEqual(
        host.enabled().filter((it) => it === only.module),
        [],
        word,
      );
      assert.match(host.state('quarantined')[0] ?? '', /kernel-complaint/, word);
    }
  });

  test(`${name}: reverses the transition of a livepatch that is being loaded`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    host.write('/fake/blocked', '');
    assert.equal((await host.run('sync')).code, 5);
    assert.equal(host.outcome(), 'transition-stuck');
    says(host, warning('mutex_lock+0x1/0x20', within(only)), 100);
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled(), host.modules()], ['kernel-complaint', [], [only.module]]);
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.modules()], ['quarantined', []]);
  });

  test(`${name}: retries a revert that failed`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    says(host, warning('function_1+0x1/0x20'), 100);
    host.write('/fake/blocked', '');
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual(host.problems(), [`kernel-complaint ${only.module}`, `transition-stuck ${only.module}`]);
    assert.ok(existsSync(host.path('/run/kmend-livepatch/retry')));
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.enabled(), host.modules(), host.state('livepatch')], [[], [], []]);
  });

  test(`${name}: does not start a soak while another transition delays a livepatch`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.loadForeign('kpatch_something');
    host.write('/sys/kernel/livepatch/kpatch_something/transition', '1\n');
    says(host, warning('function_1+0x1/0x20'), 100);
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual(host.problems(), [
      `kernel-complaint ${only.module}`,
      'conflict-livepatch kpatch_something',
      'conflict-transition kpatch_something',
    ]);
    assert.deepEqual([host.state('good'), host.enabled().includes(only.module)], [[], true]);
    host.write('/sys/kernel/livepatch/kpatch_something/transition', '0\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.ok(!host.enabled().includes(only.module));
  });

  test(`${name}: quarantines a livepatch after a complaint just before an orderly shutdown`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    says(host, warning('function_1+0x1/0x20'), 100);
    await host.run('shutdown');
    assert.equal(host.enabled().length, 1);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 5);
    assert.deepEqual([host.enabled(), host.outcome()], [[], 'quarantined']);
  });

  test(`${name}: reports an unreadable log and continues`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    const log = host.read('/fake/log');
    host.write('/fake/log', '');
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.outcome(), host.problems()], [0, 'in-force', ['log-unreadable -']], ran.err);
    assert.equal((await host.run('soaked')).code, 0);
    assert.equal((await host.run('soaked')).code, 0);
    assert.deepEqual(host.problems(), ['log-unreadable -']);
    // Readable again: what it holds by then may be older than the load.
    host.write('/fake/log', log + stamped(warning('function_1+0x1/0x20'), 50));
    assert.equal((await host.run('soaked')).code, 0);
    says(host, warning('function_1+0x1/0x20'), 100);
    assert.equal((await host.run('soaked')).code, 5);
    assert.deepEqual(host.enabled(), []);
  });
}
