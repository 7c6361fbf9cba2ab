import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuMs } from '@kmend/base/testing';
import type { Livepatch } from '@kmend/protocol';
import { ftraceHooksOf, type Hooks, hookConflicts, kprobesOf } from '@kmend/rules';
import { ENABLED, KPROBES } from '@kmend/rules/testing';
import { TestKernel } from '../testing/kernel.ts';
import { assertNotHooked, readHooks } from './hooks.ts';
import { readKernelView } from './livepatch.ts';

function objects(wanted: Record<string, readonly string[]>): Livepatch['objects'] {
  return Object.entries(wanted).map(([name, functions]) => ({
    name,
    functions: functions.map((it) => ({ name: it, sympos: 0, source: 'x.c' })),
  }));
}

const hooks: Hooks = { ftrace: ftraceHooksOf(ENABLED), kprobes: kprobesOf(KPROBES), ftraceEnabled: true };
const conflictsOf = (wanted: Record<string, readonly string[]>, patched?: ReadonlyMap<string, number>): string[] =>
  hookConflicts(hooks, objects(wanted), patched).map((it) => `${it.code} ${it.object} ${it.function}`);

test('reads enabled_functions with module, flags and direct calls', () => {
  assert.deepEqual(
    ftraceHooksOf(ENABLED).map((it) => [it.object, it.function, it.modifiesIp, it.direct]),
    [
      ['vmlinux', 'tcp_ack', true, null],
      ['vmlinux', 'vfs_read', false, null],
      ['vmlinux', 'vfs_open', true, null],
      ['vmlinux', 'do_unlinkat', false, 'bpf_trampoline_6442536413'],
      ['vmlinux', 'wake_up_process', false, 'my_tramp'],
      ['ext4', 'ext4_readdir', true, null],
      ['vmlinux', 'ip_rcv.part.0', false, null],
    ],
  );
});

test('accepts flags of later kernels', () => {
  const [first, second] = ftraceHooksOf('a (1)     D O M\ttramp: x\nb (1) R I   O  \ttramp: x\n');
  assert.deepEqual([first?.modifiesIp, first?.direct], [false, '']);
  assert.deepEqual([second?.modifiesIp, second?.direct], [true, null]);
});

test('reads kprobes/list with module, offset and states', () => {
  assert.deepEqual(
    kprobesOf(KPROBES).map((it) => [it.object, it.function, it.offset, it.kind, it.armed, it.onFtrace]),
    [
      ['vmlinux', 'vfs_open', 0, 'kprobe', true, true],
      ['vmlinux', 'vfs_read', 0x2a, 'kprobe', true, false],
      ['vmlinux', 'vfs_write', 4, 'kretprobe', true, true],
      ['ext4', 'ext4_readdir', 0x10, 'kprobe', false, false],
      ['ext4', 'ext4_lookup', 0x1b, 'kprobe', true, false],
      ['vmlinux', 'tcp_ack.cold', 7, 'kprobe', true, false],
      ['gone', 'init_thing', 0, 'kprobe', false, true],
    ],
  );
});

test('conflicts with a tracer that redirects a function, or with its kprobe', () => {
  assert.deepEqual(conflictsOf({ vmlinux: ['tcp_ack', 'vfs_open'] }).slice(0, 2), [
    'conflict-ftrace vmlinux tcp_ack',
    'conflict-kprobe vmlinux vfs_open',
  ]);
});

test('ignores kmend’s own hooks, up to their number', () => {
  assert.deepEqual(conflictsOf({ ext4: ['ext4_readdir'] }, new Map([['ext4 ext4_readdir', 1]])), []);
  assert.deepEqual(conflictsOf({ ext4: ['ext4_readdir'] }, new Map([['vmlinux ext4_readdir', 1]])), [
    'conflict-ftrace ext4 ext4_readdir',
  ]);
  const twice = { ...hooks, ftrace: ftraceHooksOf('show (1)   I  \nshow (1)   I  \n') };
  const wanted = objects({ vmlinux: ['show'] });
  assert.equal(hookConflicts(twice, wanted, new Map([['vmlinux show', 1]])).length, 1);
  assert.equal(hookConflicts(twice, wanted, new Map([['vmlinux show', 2]])).length, 0);
});

test('conflicts with a kprobe in the body or cold part of a function', () => {
  assert.deepEqual(conflictsOf({ vmlinux: ['vfs_read'], ext4: ['ext4_lookup'] }), [
    'conflict-kprobe vmlinux vfs_read',
    'conflict-kprobe ext4 ext4_lookup',
  ]);
  const patched = new Map([['vmlinux tcp_ack', 1]]);
  assert.deepEqual(conflictsOf({ vmlinux: ['tcp_ack'] }), [
    'conflict-ftrace vmlinux tcp_ack',
    'conflict-kprobe vmlinux tcp_ack.cold',
  ]);
  assert.deepEqual(conflictsOf({ vmlinux: ['tcp_ack'] }, patched), []);
});

test('allows entry probes, the function tracer and BPF; refuses another direct call', () => {
  assert.deepEqual(conflictsOf({ vmlinux: ['vfs_write', 'ip_rcv.part.0', 'do_unlinkat'] }), []);
  assert.deepEqual(conflictsOf({ vmlinux: ['wake_up_process'] }), ['conflict-ftrace vmlinux wake_up_process']);
});

test('leaves an unnamed direct call to the kernel', () => {
  const unnamed = { ...hooks, ftrace: ftraceHooksOf('vfs_write (1)     D\ttramp: x\n') };
  assert.deepEqual(hookConflicts(unnamed, objects({ vmlinux: ['vfs_write'] })), []);
});

test('ignores a probe that is off or gone, and a function of the same name elsewhere', () => {
  const off = { ...hooks, ftrace: [] };
  assert.deepEqual(hookConflicts(off, objects({ ext4: ['ext4_readdir'], gone: ['init_thing'] })), []);
  assert.deepEqual(
    conflictsOf({ xfs: ['vfs_read', 'ext4_lookup', 'tcp_ack'], vmlinux: ['ext4_lookup', 'ext4_readdir'] }),
    [],
  );
});

test('reads a hundred thousand hostile lines in linear time', () => {
  const began = cpuMs();
  ftraceHooksOf(`${'a'.repeat(400)} (1)${'  '.repeat(200)}x\n`.repeat(10_000));
  kprobesOf(`ffff  k  ${'+0x'.repeat(300)}\n`.repeat(10_000));
  assert.ok(cpuMs() - began < 3000);
});

async function host(context: { after(f: () => unknown): void }): Promise<TestKernel> {
  const kernel = await TestKernel.make();
  context.after(() => kernel.remove());
  return kernel;
}

const manifest = (wanted: Record<string, readonly string[]>): Livepatch => ({ objects: objects(wanted) }) as Livepatch;

test('reports all conflicts on a host, and recognises its own livepatch in sysfs', async (context) => {
  const kernel = await host(context);
  const edges = kernel.edges();
  await kernel.write('/sys/kernel/debug/tracing/enabled_functions', ENABLED);
  await kernel.write('/sys/kernel/debug/kprobes/list', KPROBES);
  const wanted = manifest({ vmlinux: ['tcp_ack', 'vfs_read'] });
  await assert.rejects(
    assertNotHooked(edges, wanted, await readKernelView(edges)),
    (error: { code?: string; message: string; details?: { conflicts?: unknown[] } }) => {
      assert.equal(error.code, 'conflict-ftrace');
      assert.match(error.message, /^tcp_ack is hooked: .*\(and 2 more\)$/);
      assert.equal(error.details?.conflicts?.length, 3);
      return true;
    },
  );
  await kernel.load('kmend_0123456789ab');
  await kernel.settle();
  await kernel.write('/sys/kernel/livepatch/kmend_0123456789ab/vmlinux/tcp_ack,1', '');
  await assert.rejects(assertNotHooked(edges, wanted, await readKernelView(edges)), { code: 'conflict-kprobe' });
  await assertNotHooked(edges, manifest({ vmlinux: ['tcp_ack'] }), await readKernelView(edges));
});

test('conflicts with a function that a foreign livepatch holds', async (context) => {
  const kernel = await host(context);
  await kernel.write('/sys/kernel/tracing/enabled_functions', ENABLED);
  await kernel.load('other_patch');
  await kernel.settle();
  await kernel.write('/sys/kernel/livepatch/other_patch/vmlinux/tcp_ack,1', '');
  const edges = kernel.edges();
  const view = await readKernelView(edges);
  await assert.rejects(assertNotHooked(edges, manifest({ vmlinux: ['tcp_ack'] }), view), { code: 'conflict-ftrace' });
});

test('detects disabled ftrace before a load', async (context) => {
  const kernel = await host(context);
  await kernel.write('/proc/sys/kernel/ftrace_enabled', '0\n');
  const edges = kernel.edges();
  await assert.rejects(assertNotHooked(edges, manifest({}), await readKernelView(edges)), { code: 'conflict-ftrace' });
});

test('ignores listings that the kernel does not have or does not show', async (context) => {
  const kernel = await host(context);
  const edges = kernel.edges();
  assert.deepEqual(await readHooks(edges), { ftrace: undefined, kprobes: undefined, ftraceEnabled: true });
  const locked = {
    ...edges,
    files: {
      ...edges.files,
      text: () => Promise.reject(Object.assign(new Error('EPERM: operation not permitted'), { code: 'EPERM' })),
    },
  };
  assert.deepEqual(await readHooks(locked), { ftrace: undefined, kprobes: undefined, ftraceEnabled: true });
});
