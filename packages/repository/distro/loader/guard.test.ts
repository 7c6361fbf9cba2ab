import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: does not load a livepatch again after the host crashed in its first soak`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    assert.equal((await host.run('sync')).code, 0);
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 0);
    assert.deepEqual(host.state('good').length, 2);
    assert.equal(host.read('/run/kmend-livepatch/soak'), '');
    // A third and fourth come, and the host goes down.
    const stack = host.installStack(4);
    assert.equal((await host.run('sync')).code, 0);
    host.boot();
    host.calls();
    host.write('/sys/fs/pstore/dmesg-efi-1', 'Oops');
    const ran = await host.run('sync', '--boot');
    assert.equal(ran.code, 5);
    assert.match(ran.err, /pstore holds dmesg-efi-1/);
    assert.deepEqual(host.enabled(), [first.module, second.module].sort());
    assert.deepEqual(host.problems().slice(0, 2), [`crashed ${stack[2]?.module}`, `crashed ${stack[3]?.module}`]);
    assert.equal((await host.run('status')).code, 2);
    // Known the next time too; a newer revision is another livepatch, resume tries the same one.
    host.calls();
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls()], ['quarantined', []]);
    assert.equal((await host.run('resume')).code, 0);
    assert.equal(host.enabled().length, 4);
  });

  test(`${name}: blames a crash during a load on that livepatch and its dependants`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second, third] = host.installStack(3);
    assert.ok(first && second && third);
    // Killed within the insmod of the second: the state says that it was being loaded.
    host.write('/fake/blocked', '');
    host.write('/etc/kmend-livepatch/config', 'wait 1\n');
    await host.run('sync');
    host.remove('/fake/blocked');
    assert.deepEqual(host.enabled(), [first.module]);
    assert.equal(host.outcome(), 'transition-stuck');
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 5);
    assert.deepEqual(host.enabled(), []);
    assert.deepEqual(host.problems(), [
      `crashed ${first.module}`,
      `quarantined ${first.name}`,
      `below-missing ${second.name}`,
      `below-missing ${third.name}`,
    ]);
  });

  test(`${name}: keeps good livepatches over two power cuts, and quarantines the upper half at the third`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(4);
    assert.equal((await host.run('sync')).code, 0);
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 0);
    // A crash after the soak: loaded again. Within the next soak: so are all of them, twice.
    for (const _ of ['after', 'within', 'within']) {
      host.boot();
      assert.equal((await host.run('sync', '--boot')).code, 0);
      assert.deepEqual([host.enabled().length, host.state('quarantined')], [4, []]);
    }
    // An orderly shutdown starts again.
    assert.equal((await host.run('shutdown')).code, 0);
    for (const _ of ['in order', 'within', 'within']) {
      host.boot();
      assert.equal((await host.run('sync', '--boot')).code, 0);
      assert.equal(host.enabled().length, 4);
    }
    // The third time in a row: the upper half; then half of the rest.
    for (const left of [2, 1, 0]) {
      host.boot();
      assert.equal((await host.run('sync', '--boot')).code, 5);
      const modules = stack.slice(0, left).map((it) => it.module);
      assert.deepEqual(host.enabled(), modules.sort());
    }
  });

  test(`${name}: does not count an orderly shutdown in the soak as a crash`, async (t) => {
    const host = new TestHost(t, shell);
    host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await host.run('shutdown')).code, 0);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.equal(host.enabled().length, 2);
    assert.match(host.state('livepatch')[0] ?? '', / soak \d+ good /);
    // One that was called off counts no more.
    assert.equal((await host.run('shutdown')).code, 0);
    assert.equal((await host.run('sync')).code, 0);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 5);
    assert.equal(host.enabled().length, 1);
  });

  test(`${name}: loads nothing with kmend=off or the off file`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    host.write('/proc/cmdline', 'ro kmend=on quiet kmend=off\n');
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual([host.outcome(), host.calls()], ['switched-off', []]);
    host.write('/proc/cmdline', 'ro kmend=off kmend=on\n');
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 2);
    host.write('/etc/kmend-livepatch/off', '');
    // Livepatches in force stay; removed ones are reverted; new ones are not loaded, not even as a replacement.
    host.calls();
    host.install({ position: 1, version: '1.2' });
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual([host.outcome(), host.calls()], ['switched-off', []]);
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`rmmod ${second.module}`]);
    assert.deepEqual(host.enabled(), [first.module]);
    assert.match((await host.run('status')).out, /^switched off: \/etc\/kmend-livepatch\/off is there$/m);
  });

  test(`${name}: keeps loaded livepatches over a boot under hold; resume loads the rest`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await host.run('hold')).code, 0);
    host.remove(second.directory);
    host.install({ position: 3, on: [first.module] });
    host.calls();
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual([host.outcome(), host.calls()], ['held', []]);
    assert.equal((await host.run('shutdown')).code, 0);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual(host.enabled(), [first.module]);
    assert.equal((await host.run('resume')).code, 0);
    assert.deepEqual([host.outcome(), host.enabled().length], ['in-force', 2]);
  });

  test(`${name}: reverts everything from the top, and holds until resume`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    assert.equal((await host.run('revert')).code, 0);
    assert.deepEqual(
      host.calls(),
      stack.toReversed().map((it) => `rmmod ${it.module}`),
    );
    assert.equal(host.outcome(), 'held');
    assert.equal((await host.run('status')).code, 1);
    for (const again of [false, true]) {
      if (again) host.boot();
      assert.equal((await host.run('sync', '--boot')).code, 0);
      assert.deepEqual([host.outcome(), host.calls()], ['held', []]);
    }
    assert.equal((await host.run('resume')).code, 0);
    assert.equal(host.enabled().length, 3);
  });

  test(`${name}: does not reload what an administrator reverted`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.remove(`/sys/kernel/livepatch/${second.module}`);
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.outcome(), host.enabled()], [5, 'load-failed', [first.module]]);
    assert.equal((await host.run('resume')).code, 0);
    assert.equal(host.enabled().length, 2);
  });

  test(`${name}: lets the agent drive after yield; take --over replaces the agent's livepatch`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await host.run('yield')).code, 0);
    host.calls();
    // The agent's cumulative one replaces the stack, and unloads it.
    const agents = 'kmend_aaaaaaaaaaaa';
    for (const it of stack) for (const part of ['kernel/livepatch', 'module']) host.remove(`/sys/${part}/${it.module}`);
    host.loadForeign(agents);
    host.install({ position: 3, on: [stack[1]?.module ?? ''] });
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual([host.outcome(), host.calls(), host.state('quarantined')], ['yielded', [], []]);
    // Without the option that livepatch is a foreign one.
    assert.equal((await host.run('take')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['conflict-livepatch', [agents]]);
    assert.equal((await host.run('take', '--over', agents)).code, 0);
    assert.deepEqual([host.outcome(), host.enabled().length, host.state('over')], ['in-force', 3, []]);
    assert.equal(host.calls()[0], `rmmod ${agents}`);
  });

  test(`${name}: ends yield --until-boot at the next boot`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await host.run('yield', '--until-boot')).code, 0);
    host.install({ position: 3, on: [stack[1]?.module ?? ''] });
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual([host.outcome(), host.enabled().length], ['yielded', 2]);
    assert.equal((await host.run('yield', '--until-later')).code, 6);
    assert.equal((await host.run('shutdown')).code, 0);
    host.boot();
    // Said before anything was begun in the new boot, too.
    assert.equal(JSON.parse((await host.run('status', '--json')).out).yielded, false);
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual([host.outcome(), host.enabled().length, host.state('yielded')], ['in-force', 3, []]);
  });

  test(`${name}: loads the whole stack again when the agent’s livepatch is gone`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    host.write('/proc/uptime', '1000.00 1.00\n');
    assert.equal((await host.run('soaked')).code, 0);
    assert.equal((await host.run('yield', '--until-boot')).code, 0);
    for (const it of stack) for (const part of ['kernel/livepatch', 'module']) host.remove(`/sys/${part}/${it.module}`);
    host.calls();
    assert.equal((await host.run('take')).code, 0);
    assert.deepEqual([host.outcome(), host.state('quarantined')], ['in-force', []]);
    assert.deepEqual(
      host.calls(),
      stack.map((it) => `insmod ${it.module}`),
    );
    // And where the host went down while the agent had its own in force.
    assert.equal((await host.run('yield', '--until-boot')).code, 0);
    for (const it of stack) for (const part of ['kernel/livepatch', 'module']) host.remove(`/sys/${part}/${it.module}`);
    host.write('/proc/uptime', '3000.00 1.00\n');
    assert.equal((await host.run('soaked')).code, 0);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual([host.enabled().length, host.state('quarantined')], [2, []]);
  });

  test(`${name}: replaces the agent's livepatch at once by take with a cumulative package`, async (t) => {
    const host = new TestHost(t, shell);
    const agents = 'kmend_aaaaaaaaaaaa';
    assert.equal((await host.run('yield')).code, 0);
    host.loadForeign(agents);
    // With nothing that could take its place, it stays where it is.
    assert.equal((await host.run('take', '--over', agents)).code, 5);
    assert.deepEqual([host.outcome(), host.enabled(), host.calls()], ['yielded', [agents], []]);
    const mine = host.install({ position: 2, kind: 'cumulative', version: '7.1' });
    assert.equal((await host.run('take', '--over', agents)).code, 0);
    assert.deepEqual(host.calls(), [`insmod ${mine.module}`, `rmmod ${agents}`]);
    assert.equal((await host.run('take', '--over', 'kmend_zzz')).code, 6);
  });

  test(`${name}: blames only the new livepatch for a power cut`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    host.passes(901);
    assert.equal((await host.run('soaked')).code, 0);
    // The boot after that is cut off in the first transition.
    host.boot();
    host.write('/fake/blocked', '');
    assert.equal((await host.run('sync', '--boot')).code, 5);
    host.remove('/fake/blocked');
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.deepEqual([host.enabled().length, host.state('quarantined')], [2, []]);
    const third = host.install({ position: 3, on: [stack[1]?.module ?? ''] });
    assert.equal((await host.run('sync')).code, 0);
    host.boot();
    assert.equal((await host.run('sync', '--boot')).code, 5);
    assert.deepEqual(host.problems().slice(0, 1), [`crashed ${third.module}`]);
    assert.equal(host.enabled().length, 2);
  });
}
