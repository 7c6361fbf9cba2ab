import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

const isRetried = (host: TestHost): boolean => existsSync(host.path('/run/kmend-livepatch/retry'));

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: retries until a foreign livepatch is gone, and logs it once`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    host.loadForeign('kpatch_something');
    const unit = { JOURNAL_STREAM: '8:1' };
    const first = await host.runIn(unit, 'sync');
    assert.deepEqual([first.code, host.outcome(), isRetried(host)], [5, 'conflict-livepatch', true]);
    assert.match(first.err, /kpatch_something \(conflict-livepatch\)/);
    assert.deepEqual([(await host.runIn(unit, 'sync')).err, isRetried(host)], ['', true]);
    // A person who asks is told all the same.
    assert.match((await host.run('sync')).err, /kpatch_something/);
    host.remove('/sys/kernel/livepatch/kpatch_something');
    host.remove('/sys/module/kpatch_something');
    assert.equal((await host.runIn(unit, 'sync')).code, 0);
    assert.deepEqual([host.enabled(), isRetried(host)], [[module], false]);
  });

  test(`${name}: tries once in each run to unload a stuck module`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.write('/fake/busy', '');
    assert.equal((await host.run('revert')).code, 0);
    assert.equal((await host.run('resume')).code, 5);
    assert.deepEqual([host.outcome(), isRetried(host)], ['conflict-module', true]);
    host.calls();
    assert.equal((await host.run('sync')).code, 5);
    // Once to tidy up, once because it is in the way.
    assert.deepEqual(host.calls(), [`rmmod ${module}`, `rmmod ${module}`]);
    host.remove('/fake/busy');
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual([host.enabled(), isRetried(host)], [[module], false]);
  });
}
