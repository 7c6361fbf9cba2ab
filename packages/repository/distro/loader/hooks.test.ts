import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
// The agent and the packages' loader must find the same hooks in the way.
import { ftraceHooksOf, hookConflicts, kprobesOf } from '@kmend/rules';
import { ENABLED as COMMON, KPROBES } from '@kmend/rules/testing';
import { allShells, shells, TestHost } from './testing/host.ts';

const PARTS = join(import.meta.dirname, 'parts');

/** Beside what the agent is tried with: a direct call without a name, more flags, one function twice. */
const ENABLED = [
  'nameless (1)     D\ttramp: x',
  'later (1) R I   O M\ttramp: x',
  'show (1)   I  ',
  'show (1)   I  ',
  COMMON,
].join('\n');

const names = ['tcp_ack', 'vfs_read', 'vfs_open', 'vfs_write', 'do_unlinkat', 'wake_up_process', 'nameless', 'later'];
const all = [...names, 'ip_rcv.part.0', 'show', 'init_thing', 'nobody'].map((it) => `vmlinux ${it}`);
const places = [...all, 'ext4 ext4_readdir', 'ext4 ext4_lookup', 'xfs ext4_lookup', 'gone init_thing'];

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: finds the same hook conflicts as the agent`, () => {
    const hooks = { ftrace: ftraceHooksOf(ENABLED), kprobes: kprobesOf(KPROBES), ftraceEnabled: true };
    const [file = '', ...before] = shell;
    const listings = `${ENABLED.replaceAll(/^/gm, 'f ')}\n${KPROBES.replaceAll(/^/gm, 'k ')}`;
    let found = 0;
    for (const patched of [[], ['vmlinux tcp_ack', 'vmlinux show'], ['vmlinux show', 'vmlinux show'], ['vmlinux x']]) {
      for (const place of places) {
        const [object = '', fn = ''] = place.split(' ');
        const counts = new Map(patched.map((it) => [it, patched.filter((other) => other === it).length]));
        const objects = [{ name: object, functions: [{ name: fn, sympos: 0, source: 'x.c' }] }];
        const [first] = hookConflicts(hooks, objects, counts);
        const kprobesFirst = listings.split('\n').sort((a, b) => (a[0] === b[0] ? 0 : a.startsWith('k') ? -1 : 1));
        const lines = [...patched.map((it) => `patched ${it}`), `wanted kmend_x ${place}`, ...kprobesFirst];
        const out = execFileSync(file, [...before, '-c', `. ${PARTS}/rules.sh; . ${PARTS}/hooks.sh; hooked_in`], {
          input: `${lines.join('\n')}\n`,
          encoding: 'utf8',
        });
        const where = first?.object === 'vmlinux' ? first.function : `${first?.function} [${first?.object}]`;
        const wanted = first === undefined ? '' : `kmend_x ${first.code} `;
        assert.ok(out === '' ? wanted === '' : wanted !== '' && out.startsWith(wanted), `${place}: ${out}`);
        if (first === undefined) continue;
        found++;
        assert.ok(out.includes(first.why) && out.includes(where.replace('.cold', '')), `${place}: ${out}`);
      }
    }
    assert.ok(found > 15, `${found}`);
  });
}

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: does not load what conflicts with a kprobe, reverts nothing for it, and loads the rest`, async (t) => {
    const host = new TestHost(t, shell);
    const older = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.write('/sys/kernel/debug/kprobes/list', 'ffffffff8d1c2f7a  k  function_2+0x2a    [OPTIMIZED]\n');
    const probed = host.install({
      position: 1,
      version: '1.2',
      functions: ['vmlinux function_1', 'vmlinux function_2'],
    });
    const beside = host.install({ position: 3 });
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome()], [0, 'conflict-kprobe'], ran.err);
    assert.match(ran.err, /function_2 is hooked: the kprobe on function_2\+0x2a would never fire again/);
    assert.deepEqual(host.problems()[0], `conflict-kprobe ${probed.name}`);
    assert.ok(host.enabled().includes(older.module) && !host.enabled().includes(probed.module));
    assert.deepEqual([host.state('quarantined'), existsSync(host.path('/run/kmend-livepatch/retry'))], [[], true]);
    // What waits for the older one to go waits on; the probe goes, and everything is as it should be.
    host.remove('/sys/kernel/debug/kprobes/list');
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [probed.module, beside.module].sort());
  });

  test(`${name}: does not load what conflicts with a tracer, nor its dependants`, async (t) => {
    for (const directory of ['/sys/kernel/tracing', '/sys/kernel/debug/tracing']) {
      const host = new TestHost(t, shell);
      const [first, second] = host.installStack(2);
      assert.ok(first && second);
      host.write(`${directory}/enabled_functions`, 'function_1 (1)   I  \ttramp: x\n');
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual(host.calls(), []);
      assert.deepEqual(host.problems(), [`conflict-ftrace ${first.name}`, `below-missing ${second.name}`]);
      const status = await host.run('status');
      assert.match(status.out, new RegExp(`^installed, not in force: ${first.name} 1\\.1 \\(conflict-ftrace\\)$`, 'm'));
      host.write(`${directory}/enabled_functions`, 'function_1 (1) R    \ttramp: x\n');
      assert.equal((await host.run('sync')).code, 0);
    }
  });

  test(`${name}: ignores the packages’ own hooks`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.write('/sys/kernel/tracing/enabled_functions', 'shared [ext4] (1)   I  \ttramp: x\n');
    host.install({ position: 2 });
    assert.equal((await host.run('sync')).code, 5);
    assert.equal(host.outcome(), 'conflict-ftrace');
    host.write(`/sys/kernel/livepatch/${module}/ext4/shared,1/x`, '');
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 2);
  });

  test(`${name}: asks nothing of the kernel while ftrace is off`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/proc/sys/kernel/ftrace_enabled', '0\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls()], ['conflict-ftrace', []]);
    host.write('/proc/sys/kernel/ftrace_enabled', '1\n');
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: ignores listings that the kernel does not show`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    // Reading a directory fails, as reading these does in a locked-down kernel.
    host.write('/sys/kernel/tracing/enabled_functions/x', '');
    host.write('/sys/kernel/debug/kprobes/list/x', '');
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.problems()], [0, []], ran.err);
    assert.doesNotMatch(ran.err, /head|sed/);
  });
}
