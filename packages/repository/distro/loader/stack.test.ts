import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: replaces the older revision with a newer one, and keeps what is below it`, async (t) => {
    const host = new TestHost(t, shell);
    const before = host.installStack(4);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    const after = host.installStack(4, (position) => `${position}.${position < 3 ? 1 : 2}`);
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome()], [0, 'in-force'], ran.err);
    const out = [before[3], before[2]].map((it) => `rmmod ${it?.module}`);
    const into = [after[2], after[3]].map((it) => `insmod ${it?.module}`);
    assert.deepEqual(host.calls(), [...out, ...into]);
    assert.deepEqual(host.enabled(), after.map((it) => it.module).sort());
    // And back: a downgrade is the same.
    host.installStack(4);
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual(host.enabled(), before.map((it) => it.module).sort());
  });

  test(`${name}: replaces the whole stack with a cumulative livepatch at once, and unloads its modules`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    for (const it of stack) host.remove(it.directory);
    const cumulative = host.install({ position: 3, kind: 'cumulative', version: '1.1' });
    const ran = await host.run('sync', '--package');
    assert.deepEqual([host.outcome(), host.problems()], ['in-force', []], ran.err);
    const calls = host.calls();
    assert.equal(calls.shift(), `insmod ${cumulative.module}`);
    assert.deepEqual(calls.sort(), stack.map((it) => `rmmod ${it.module}`).sort());
    assert.deepEqual([host.enabled(), host.modules()], [[cumulative.module], [cumulative.module]]);
    assert.equal(host.state('livepatch').length, 1);
    // A newer one replaces it just so; an older one too.
    for (const version of ['2.1', '1.1']) {
      const next = host.install({ position: 3, kind: 'cumulative', version });
      assert.equal((await host.run('sync')).code, 0);
      assert.deepEqual(host.modules(), [next.module]);
    }
    // And a stacked one on it.
    host.calls();
    const fourth = host.install({ position: 4, on: [cumulative.module] });
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`insmod ${fourth.module}`]);
    // From there back to the stack: out first, then in.
    host.remove(fourth.directory);
    host.remove(cumulative.directory);
    const again = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(
      host.calls(),
      [fourth, cumulative].map((it) => `rmmod ${it.module}`).concat(again.map((it) => `insmod ${it.module}`)),
    );
  });

  test(`${name}: removes the top, then all of it`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second, third] = host.installStack(3);
    assert.ok(first && second && third);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.remove(third.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`rmmod ${third.module}`]);
    host.remove('/usr/lib/kmend-livepatch');
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`rmmod ${second.module}`, `rmmod ${first.module}`]);
    assert.deepEqual([host.outcome(), host.modules(), host.state('livepatch')], ['none-installed', [], []]);
  });

  test(`${name}: keeps a removed livepatch until its dependants are gone`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(4);
    const [first, second, third, fourth] = stack;
    assert.ok(first && second && third && fourth);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), []);
    assert.deepEqual(host.problems(), [`removed-but-needed ${second.module}`]);
    assert.equal((await host.run('status')).code, 0);
    host.remove(third.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.problems().sort(), [second, third].map((it) => `removed-but-needed ${it.module}`).sort());
    host.remove(fourth.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(
      host.calls(),
      [fourth, third, second].map((it) => `rmmod ${it.module}`),
    );
    assert.deepEqual([host.enabled(), host.problems()], [[first.module], []]);
  });

  test(`${name}: reverts a livepatch in the middle without dependants alone`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second, third] = [1, 2, 3].map((position) => host.install({ position }));
    assert.ok(first && second && third);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`rmmod ${second.module}`]);
    // It comes back below the third, as its position wants it.
    host.install({ position: 2 });
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`rmmod ${third.module}`, `insmod ${second.module}`, `insmod ${third.module}`]);
  });

  test(`${name}: delays an upgrade until the dependants of the old revision are gone`, async (t) => {
    const host = new TestHost(t, shell);
    const [, second, third] = host.installStack(3);
    assert.ok(second && third);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.install({ position: 2, version: '2.2' });
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), []);
    assert.deepEqual(host.problems(), [`removed-but-needed ${second.module}`, `below-missing ${second.name}`]);
    assert.equal((await host.run('status')).code, 2);
  });

  test(`${name}: does not load a livepatch without its dependency`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second, third] = host.installStack(3);
    assert.ok(first && second && third);
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.enabled(), host.problems()], [[first.module], [`below-missing ${third.name}`]]);
  });

  test(`${name}: reports packages for another kernel, and ignores them`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1, buildId: 'cd'.repeat(20) });
    host.install({ position: 2, release: '6.1.0-50-amd64', buildId: 'ef'.repeat(20) });
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.outcome(), host.calls()], [0, 'other-kernel', []]);
    assert.match(ran.err, /2 packages are for other kernels/);
    assert.equal((await host.run('status')).code, 3);
    const fits = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [fits.module]);
  });

  test(`${name}: keeps what is loaded if its successor is damaged`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    for (const it of stack) host.remove(it.directory);
    const cumulative = host.install({ position: 2, kind: 'cumulative', version: '1.1' });
    host.write(`${cumulative.directory}/livepatch.ko`, 'something else');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls()], ['livepatch-damaged', []]);
    assert.equal(host.enabled().length, 2);
    // A revision that cannot be had leaves the one that runs.
    const whole = host.install({ position: 2, kind: 'cumulative', version: '1.1' });
    assert.equal((await host.run('sync')).code, 0);
    const next = host.install({ position: 2, kind: 'cumulative', version: '1.2' });
    host.remove(`${next.directory}/manifest.sig`);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.enabled(), host.outcome()], [[whole.module], 'package-incomplete']);
  });
}
