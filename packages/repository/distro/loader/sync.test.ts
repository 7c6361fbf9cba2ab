import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { allShells, TestHost } from './testing/host.ts';

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: loads one livepatch once, and watches it`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome(), host.problems()], [0, 'in-force', []], ran.err);
    assert.deepEqual(host.enabled(), [only.module]);
    assert.deepEqual(host.calls(), [`insmod ${only.module}`]);
    assert.match(host.state('livepatch')[0] ?? '', / soak \d+ new \d+$/);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), []);
  });

  test(`${name}: stacks five in order, whatever order the disk has`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(5);
    const ran = await host.run('sync');
    assert.equal(ran.code, 0, ran.err);
    assert.deepEqual(
      host.calls(),
      stack.map((it) => `insmod ${it.module}`),
    );
    // A boot later all of them again.
    assert.equal((await host.run('shutdown')).code, 0);
    host.boot();
    const booted = await host.run('sync', '--boot');
    assert.equal(booted.code, 0, booted.err);
    assert.equal(host.enabled().length, 5);
    assert.deepEqual(
      host.calls(),
      stack.map((it) => `insmod ${it.module}`),
    );
  });

  test(`${name}: does not delay the boot for long, and loads the rest later`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    host.write('/fake/slow', '');
    assert.equal((await host.run('sync', '--boot')).code, 5);
    assert.equal(host.outcome(), 'unfinished');
    assert.deepEqual(
      host.calls(),
      stack.slice(0, 2).map((it) => `insmod ${it.module}`),
    );
    assert.ok(existsSync(host.path('/run/kmend-livepatch/retry')));
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.calls(), [`insmod ${stack[2]?.module}`]);
  });
}
