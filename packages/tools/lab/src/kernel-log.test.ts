import assert from 'node:assert/strict';
import { test } from 'node:test';
import { complaints, newTaints } from './kernel-log.ts';

test('finds what a kernel in trouble prints', () => {
  const lines = [
    '[   12.1] WARNING: CPU: 1 PID: 612 at net/ipv4/ip_options.c:518 ip_options_get+0x1f/0x90',
    '[   12.1] Call Trace:',
    '[   12.2] BUG: kernel NULL pointer dereference, address: 0000000000000000',
    '[   12.3] general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP',
    '[   12.4] refcount_t: underflow; use-after-free.',
    '[   12.5] WARNING: possible circular locking dependency detected',
    '[   12.6] INFO: task kworker/0:1:9 blocked for more than 120 seconds.',
    '[   12.7] rcu: INFO: rcu_preempt self-detected stall on CPU',
    "[   12.8] livepatch: patch 'kmend_1' failed for module 'af_alg', refusing to load module 'af_alg'",
    '[   12.9] BUG: KASAN: use-after-free in f+0x1/0x2',
    '[   13.0] systemd: page allocation failure: order:0',
    '[   13.1] traps: Missing ENDBR: ip_options_get+0x0/0x80 [kmend_1]',
    '[   13.2] exercise[71] control protection ip:401000 sp:7ffc0 ssp:0 error:3(endbranch)',
    '[   13.3] Oops: control protection fault: 0003 [#1] PREEMPT SMP NOPTI',
    '[   13.4] kmend_1: loading module not compiled with retpoline compiler.',
    '[   13.5] kmend_1: Unknown symbol its_return_thunk (err -2)',
  ];
  assert.deepEqual(complaints(lines.join('\n')), lines);
});

test('does not take messages of livepatching for complaints', () => {
  const log = [
    '[    5.1] kmend_1: loading out-of-tree module taints kernel.',
    '[    5.1] kmend_1: tainting kernel with TAINT_LIVEPATCH',
    '[    5.1] kmend_1: module verification failed: signature and/or required key missing - tainting kernel',
    "[    5.2] livepatch: enabling patch 'kmend_1'",
    "[    5.2] livepatch: 'kmend_1': starting patching transition",
    '[   20.2] livepatch: signaling remaining tasks',
    "[   21.2] livepatch: 'kmend_1': patching complete",
    '[   22.2] debug: nothing to see',
  ];
  assert.deepEqual(complaints(log.join('\n')), []);
});

test('distinguishes the taint of a warning from that of a livepatch', () => {
  const livepatch = (1 << 12) | (1 << 13) | (1 << 15);
  assert.deepEqual(newTaints(0, livepatch), []);
  assert.deepEqual(newTaints(0, livepatch | (1 << 9)), [9]);
  assert.deepEqual(newTaints(1 << 9, livepatch | (1 << 9)), []);
  // Debian's own, of a program that asks fanotify for permission events; a test module.
  assert.deepEqual(newTaints(0, livepatch | (1 << 16) | (1 << 18)), []);
});
