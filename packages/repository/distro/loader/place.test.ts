import assert from 'node:assert/strict';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

const STATE = '/var/lib/kmend-livepatch/state';

const foreign: Record<string, [code: string, change: (host: TestHost) => void]> = {
  'a capture kernel': ['capture-kernel', (host) => host.write('/proc/vmcore', '')],
  'a container of systemd': ['foreign-kernel', (host) => host.write('/run/systemd/container', 'systemd-nspawn\n')],
  'a container of Docker': ['foreign-kernel', (host) => host.write('/.dockerenv', '')],
  'a user namespace': [
    'foreign-kernel',
    (host) => host.write('/proc/self/uid_map', '         0     100000      65536\n'),
  ],
  'a process namespace': [
    'foreign-kernel',
    (host) => {
      mkdirSync(host.path('/proc/self/ns'), { recursive: true });
      symlinkSync('pid:[4026532201]', host.path('/proc/self/ns/pid'));
    },
  ],
  'a chroot': ['foreign-kernel', (host) => host.write('/proc/1/root/etc/hostname', 'the host around it\n')],
  'an image, where no systemd runs': ['foreign-kernel', (host) => host.remove('/run/systemd')],
};

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: loads and records nothing in a capture kernel, a container, a chroot or an image`, async (t) => {
    for (const [what, [code, change]] of Object.entries(foreign)) {
      const host = new TestHost(t, shell);
      host.install({ position: 1 });
      change(host);
      for (const words of [['sync', '--package'], ['sync', '--boot'], ['soaked'], ['shutdown']])
        assert.equal((await host.run(...words)).code, 0, `${what}: ${words.join(' ')}`);
      const ran = await host.run('sync');
      assert.deepEqual([ran.code, host.calls()], [5, []], what);
      assert.match(ran.err, new RegExp(`\\(${code}\\)`), what);
      assert.ok(!existsSync(host.path(STATE)), what);
    }
  });

  test(`${name}: recognises an ordinary host`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/proc/self/uid_map', '         0          0 4294967295\n');
    mkdirSync(host.path('/proc/self/ns'), { recursive: true });
    symlinkSync('pid:[4026531836]', host.path('/proc/self/ns/pid'));
    mkdirSync(host.path('/proc/1'), { recursive: true });
    symlinkSync(host.path('/'), host.path('/proc/1/root'));
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 1);
  });

  test(`${name}: ignores the state of another machine`, async (t) => {
    const host = new TestHost(t, shell);
    host.write('/etc/machine-id', `${'a'.repeat(32)}\n`);
    host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    assert.equal((await host.run('hold')).code, 0);
    // The image is taken in the soak.
    host.boot();
    host.write('/etc/machine-id', `${'b'.repeat(32)}\n`);
    const ran = await host.run('sync', '--boot');
    assert.deepEqual(
      [ran.code, host.outcome(), host.state('quarantined'), host.state('hold')],
      [0, 'in-force', [], []],
    );
    assert.match(ran.err, /another machine/);
    assert.equal((await host.run('status')).code, 0);
    // One that has no id yet says nothing of whose it is.
    host.write('/etc/machine-id', 'uninitialized\n');
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.state('livepatch').length, 1);
  });

  test(`${name}: does nothing early in a boot with /var on the network`, async (t) => {
    for (const [unit, mounted] of [
      ['/run/systemd/generator/var.mount', '31 1 0:30 / /var rw - nfs4 server:/var rw\n'],
      ['/etc/systemd/system/var-lib.mount', '31 1 0:30 / /var/lib rw - nfs4 server:/lib rw\n'],
      ['/run/systemd/generator/var.automount', '31 1 0:30 / /var rw - nfs4 server:/var rw\n'],
    ] as const) {
      const host = new TestHost(t, shell);
      host.install({ position: 1 });
      host.write(unit, '');
      host.write(
        '/proc/self/mountinfo',
        '22 1 8:1 / / rw - ext4 /dev/vda1 rw\n30 1 0:29 / /var rw - autofs systemd-1 rw\n',
      );
      const ran = await host.run('sync', '--boot');
      assert.deepEqual([ran.code, host.calls()], [0, []], ran.err);
      assert.ok(!existsSync(host.path(STATE)) && !existsSync(host.path('/run/kmend-livepatch/booted')), unit);
      host.write('/proc/self/mountinfo', `22 1 8:1 / / rw - ext4 /dev/vda1 rw\n${mounted}`);
      assert.equal((await host.run('sync', '--boot')).code, 0);
      assert.ok(existsSync(host.path('/run/kmend-livepatch/booted')));
      assert.equal(host.enabled().length, 1);
    }
  });

  test(`${name}: quarantines nothing while modules_disabled is set; the next boot loads`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/proc/sys/kernel/modules_disabled', '1\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls(), host.state('quarantined')], ['modules-disabled', [], []]);
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/retry')));
    host.boot();
    host.write('/proc/sys/kernel/modules_disabled', '0\n');
    assert.equal((await host.run('sync', '--boot')).code, 0);
    assert.equal(host.enabled().length, 1);
  });
}
