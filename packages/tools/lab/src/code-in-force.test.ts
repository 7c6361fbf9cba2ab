import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './code-in-force.ts';

const ftrace =
  'ftrace cmdline_proc_show (1)   I  \ttramp: 0xffffffffc0349000 (klp_ftrace_handler+0x0/0x110) ->klp_ftrace_handler+0x0/0x110';

test('reports the kernel’s code without a livepatch', () => {
  assert.deepEqual(judge(''), { source: 'kernel', transition: false, evidence: [] });
});

test('reports a livepatch that claims and redirects the function', () => {
  const sysfs = 'sysfs lp/vmlinux/cmdline_proc_show,1 enabled=1 transition=0';
  assert.deepEqual(judge(`module lp\n${sysfs}\n${ftrace}`), {
    source: 'livepatch',
    livepatch: 'lp',
    transition: false,
    evidence: [sysfs, ftrace],
  });
});

test('reports no claim without a redirection: the module to patch is not loaded', () => {
  const result = judge('module lp\nsysfs lp/af_alg/af_alg_sendmsg,1 enabled=1 transition=0');
  assert.equal(result.source, 'kernel');
  assert.equal(result.livepatch, undefined);
});

test('does not take a tracer on a function for a livepatch', () => {
  const traced = 'ftrace cmdline_proc_show (1)        \ttramp: 0xffffffffc0349000 (function_trace_call+0x0/0x110)';
  const claim = 'sysfs lp/vmlinux/cmdline_proc_show,1 enabled=1 transition=0';
  assert.equal(judge(`module lp\n${claim}\n${traced}`).source, 'kernel');
  // Both at once: ftrace lists no handler then, only that the address may be changed (I).
  const both = 'ftrace cmdline_proc_show (2) R I';
  assert.equal(judge(`module lp\n${claim}\n${both}`).source, 'livepatch');
});

test('reports of several livepatches the one that was loaded last and is still enabled', () => {
  const claims = [
    'sysfs first/vmlinux/cmdline_proc_show,1 enabled=1 transition=0',
    'sysfs second/vmlinux/cmdline_proc_show,1 enabled=1 transition=1',
    'sysfs third/vmlinux/cmdline_proc_show,1 enabled=0 transition=0',
  ].join('\n');
  const result = judge(`module third\nmodule second\nmodule first\n${claims}\n${ftrace}`);
  assert.equal(result.livepatch, 'second');
  assert.equal(result.transition, true);
});
