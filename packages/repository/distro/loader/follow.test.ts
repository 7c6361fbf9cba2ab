import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LivepatchStatus } from '@kmend/protocol';
import { allShells, BUILD_ID, RELEASE, TestHost } from './testing/host.ts';
import { TestKey } from './testing/key.ts';

async function statusOf(host: TestHost): Promise<LivepatchStatus> {
  return LivepatchStatus.parse(JSON.parse((await host.run('status', '--json')).out));
}

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: accepts a signed statement that a fresh kernel needs none`, async (t) => {
    const host = new TestHost(t, shell);
    const directory = host.installStatement();
    // Nothing is believed before it was verified.
    assert.equal((await host.run('status')).code, 3);
    assert.deepEqual([(await host.run('sync')).code, host.outcome(), host.calls()], [0, 'not-needed', []]);
    const { exitCode, notNeeded } = await statusOf(host);
    assert.deepEqual([exitCode, notNeeded], [0, true]);
    assert.match((await host.run('status')).out, /^this kernel needs no livepatch yet$/m);
    // The first livepatch ends it: the package's newer version holds no statement.
    host.remove(directory);
    assert.equal((await host.run('status')).code, 3);
    host.install({ position: 1 });
    assert.deepEqual([(await host.run('sync')).code, host.outcome()], [0, 'in-force']);
    assert.equal((await statusOf(host)).notNeeded, false);
    assert.deepEqual(host.state('not-needed'), []);
  });

  test(`${name}: ignores a statement that fails verification`, async (t) => {
    const other = new TestKey('other');
    t.after(() => other.remove());
    const host = new TestHost(t, shell);
    const sync = async (): Promise<readonly unknown[]> => [(await host.run('sync')).code, host.outcome()];
    const directory = host.installStatement({ key: other });
    assert.deepEqual(await sync(), [5, 'signature-wrong']);
    assert.deepEqual(host.problems(), [`signature-wrong livepatch-${RELEASE}`]);
    assert.equal((await host.run('status')).code, 3);
    host.remove(`${directory}/none.sig`);
    assert.deepEqual(await sync(), [5, 'package-incomplete']);
    for (const change of [
      (it: string) => it.replace(RELEASE, '6.1.0-50-amd64'),
      (it: string) => it.replace('kmend-livepatch-none 1', 'kmend-livepatch-none 2'),
      (it: string) => `${it}more 1\n`,
      (it: string) => it.replace(BUILD_ID, 'short'),
      () => '',
    ]) {
      host.installStatement({}, change);
      assert.deepEqual(await sync(), [5, 'manifest-garbage']);
    }
    host.installStatement({}, (it) => it.repeat(2000));
    assert.deepEqual(await sync(), [5, 'manifest-too-large']);
    // Another build of that release.
    host.installStatement({ buildId: 'cd'.repeat(20) });
    assert.deepEqual(await sync(), [0, 'other-kernel']);
    assert.equal((await host.run('status')).code, 3);
    assert.deepEqual(host.state('not-needed'), []);
  });

  test(`${name}: shows in status what the next boot brings, and whether a livepatch is there for it`, async (t) => {
    const host = new TestHost(t, shell);
    host.installKernel(RELEASE);
    host.installKernel('6.1.0-9-amd64');
    host.installKernel('6.1.0-47-cloud-amd64');
    host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await statusOf(host)).next, null);
    // Half removed: dpkg leaves what it does not own.
    host.write('/boot/vmlinuz-6.1.0-99-amd64', '');
    assert.equal((await statusOf(host)).next, null);
    host.installKernel('6.1.0-100-cloud-amd64');
    host.installKernel('6.1.0-100-amd64');
    const bare = await statusOf(host);
    assert.deepEqual(bare.next, { release: '6.1.0-100-amd64', livepatches: 0, notNeeded: false });
    assert.deepEqual([bare.exitCode, bare.warnings.map(({ code }) => code)], [0, ['next-kernel-bare']]);
    assert.match(
      (await host.run('status')).out,
      /^next kernel: 6\.1\.0-100-amd64, with the next boot; no livepatch is installed for it$/m,
    );
    const next = { release: '6.1.0-100-amd64', buildId: 'cd'.repeat(20) };
    const statement = host.installStatement(next);
    const fresh = await statusOf(host);
    assert.deepEqual(fresh.next, { release: next.release, livepatches: 0, notNeeded: true });
    assert.deepEqual(fresh.warnings, []);
    host.remove(statement);
    const ahead = host.install({ ...next, position: 1, name: `livepatch-${next.release}-cve-2026-1001` });
    const ready = await statusOf(host);
    assert.deepEqual(ready.next, { release: next.release, livepatches: 1, notNeeded: false });
    assert.deepEqual(ready.warnings, []);
    assert.match((await host.run('status')).out, /^next kernel: .*; livepatches installed for it: 1$/m);
    // And there it is at that kernel's first boot.
    await host.run('shutdown');
    host.boot();
    host.kernel(next);
    assert.deepEqual([(await host.run('sync', '--boot')).code, host.enabled()], [0, [ahead.module]]);
    assert.equal((await statusOf(host)).next, null);
  });
}

test('does not mention the next kernel on a host without package livepatches', async (t) => {
  const host = new TestHost(t, allShells['dash'] ?? []);
  host.installKernel('6.1.0-100-amd64');
  assert.deepEqual((await statusOf(host)).warnings, []);
});
