import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuMs } from '@kmend/base/testing';
import { type Complaint, complaintsOf } from './complaints.ts';
import {
  atomic,
  bug,
  END,
  hungTask,
  interrupted,
  kasan,
  MODULE,
  nullPointer,
  OTHER,
  OURS,
  protectionFault,
  rcuStall,
  softLockup,
  stamped,
  warning,
} from './testing/kernel-logs.ts';

const patched = (...names: string[]) => [
  { name: 'vmlinux', functions: names.map((name) => ({ name, sympos: 0, source: 'x.c' })) },
];
const suspect = { module: MODULE, objects: patched('tcp_ack') };
const read = (log: string, since = 0): readonly Complaint[] => complaintsOf(log, since, suspect).complaints;
const short = (log: string, since = 0): string[] =>
  read(log, since).map((it) => `${it.kind} ${it.isOurs ? 'ours' : 'not ours'} ${it.function}`);

const reports: readonly [string, string, (pointer: string, ...frames: string[]) => string[], string][] = [
  ['a warning', 'warning', warning, 'patched: 7 is wrong'],
  [
    'a BUG with the reason before it',
    'bug',
    bug,
    'list_del corruption. prev->next should be ffffd28dc05b3aa0, but was ffffd28dc05b3ab0. (prev=ffffd28dc05b3aa0)',
  ],
  ['a page fault', 'oops', nullPointer, 'BUG: kernel NULL pointer dereference, address: 0000000000000008'],
  [
    'a general protection fault',
    'oops',
    protectionFault,
    'general protection fault, maybe for address 0x0: 0000 [#2] PREEMPT SMP NOPTI',
  ],
  ['a soft lockup', 'soft-lockup', softLockup, 'watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:313]'],
  ['an RCU stall', 'rcu-stall', rcuStall, 'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:'],
];
for (const [what, kind, report, title] of reports) {
  test(`takes ${what} as one complaint, and as ours if the pointer or the stack is in the livepatch`, () => {
    const [complaint, ...more] = read(stamped(report(OURS, `tcp_rcv+0x1/0x20 [${MODULE}]`)));
    assert.deepEqual(more, []);
    assert.equal(complaint?.kind, kind);
    assert.equal(complaint.title, title);
    assert.equal(complaint.function, 'tcp_ack');
    assert.equal(complaint.isOurs, true);
    assert.equal(Math.floor(complaint.at), 100);
    assert.deepEqual(short(stamped(report('mutex_lock+0x1/0x20', OURS))), [`${kind} ours tcp_ack`]);
    assert.deepEqual(short(stamped(report(OTHER, 'net_rx+0x1/0x20'))), [`${kind} not ours e1000_clean`]);
  });
}

test('counts the old body of a patched function if the pointer is in it, not if it is only on the stack', () => {
  assert.deepEqual(short(stamped(nullPointer('tcp_ack+0x1f0/0x1300'))), ['oops ours tcp_ack']);
  assert.deepEqual(short(stamped(nullPointer('tcp_ack.cold+0x1f/0x130'))), ['oops ours tcp_ack.cold']);
  assert.deepEqual(short(stamped(nullPointer('tcp_ack+0x1f0/0x1300 [other]'))), ['oops not ours tcp_ack']);
  assert.deepEqual(short(stamped(nullPointer(OTHER, 'tcp_ack+0x1f0/0x1300'))), ['oops not ours e1000_clean']);
});

test('ignores the list of modules, the taint letters and the name of another livepatch', () => {
  const log = stamped(warning(OTHER, 'foo+0x1/0x2 [kmend_000000000001]'));
  assert.ok(log.includes(`${MODULE}(OEK)`));
  assert.deepEqual(short(log), ['warning not ours e1000_clean']);
});

test('uses frames that the unwinder guesses only if it vouches for none', () => {
  assert.deepEqual(short(stamped(warning(OTHER, `? ${OURS}`))), ['warning not ours e1000_clean']);
  const guesses = [
    'BUG: scheduling while atomic: sh/1/0x2',
    'Call Trace:',
    ' <TASK>',
    ` ? ${OURS}`,
    ' ? schedule+0x1/0x2',
    ' </TASK>',
  ];
  assert.deepEqual(short(stamped(guesses)), ['atomic ours tcp_ack']);
});

test('recognises a module’s name with a build id behind it', () => {
  const frame = `tcp_ack+0x16/0x20 [${MODULE} ${'0f'.repeat(20)}]`;
  assert.deepEqual(short(stamped(warning('mutex_lock+0x1/0x20', frame))), ['warning ours tcp_ack']);
});

test('does not blame an interrupted function unless it hangs', () => {
  assert.deepEqual(short(stamped(interrupted(OURS, OURS))), ['warning not ours call_timer_fn']);
  const inSoftirq = interrupted(OTHER).map((it) => (it.startsWith(' run_timer') ? ` ${OURS}` : it));
  assert.deepEqual(short(stamped(inSoftirq)), ['warning ours tcp_ack']);
  assert.deepEqual(short(stamped(rcuStall('cpu_relax+0x1/0x2', OURS))), ['rcu-stall ours tcp_ack']);
});

test('recognises scheduling while atomic, hung tasks and KASAN', () => {
  assert.deepEqual(short(stamped(atomic('msleep+0x29/0x40', OURS))), ['atomic ours tcp_ack']);
  assert.deepEqual(short(stamped(hungTask('mutex_lock+0x1/0x2', OURS))), ['hung-task ours tcp_ack']);
  assert.deepEqual(short(stamped(hungTask('mutex_lock+0x1/0x2'))), ['hung-task not ours null']);
  assert.deepEqual(short(stamped(kasan(OURS, 'foo+0x1/0x2'))), ['memory ours tcp_ack']);
  assert.deepEqual(short(stamped(kasan('kfree+0x1/0x2', 'foo+0x1/0x2'))), ['memory not ours kfree']);
});

test('recognises first lines of every kind', () => {
  const titles: readonly [string, string][] = [
    ['BUG: unable to handle page fault for address: ffffffffc0a0b0c0', 'oops'],
    ['BUG: TASK stack guard page was hit at ffffc90000a7ff58 (stack is ffffc90000a80000..ffffc90000a84000)', 'oops'],
    ['traps: PANIC: double fault, error_code: 0x0', 'oops'],
    ['divide error: 0000 [#1] PREEMPT SMP PTI', 'oops'],
    [
      'general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] PREEMPT SMP PTI',
      'oops',
    ],
    ['stack segment: 0000 [#1] SMP NOPTI', 'oops'],
    ['kernel BUG at mm/slub.c:435!', 'bug'],
    ['WARNING: CPU: 0 PID: 1 at kernel/smp.c:912 smp_call_function_many_cond+0x2e4/0x300', 'warning'],
    ['WARNING: possible circular locking dependency detected', 'atomic'],
    ['WARNING: suspicious RCU usage', 'atomic'],
    ['NMI watchdog: Watchdog detected hard LOCKUP on cpu 3', 'hard-lockup'],
    ['rcu: INFO: rcu_sched self-detected stall on CPU', 'rcu-stall'],
    [
      'rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 21 jiffies s: 65 root: 0x2/.',
      'rcu-stall',
    ],
    ['BUG: KFENCE: use-after-free read in tcp_write_xmit+0x1/0x20', 'memory'],
    ['UBSAN: array-index-out-of-bounds in drivers/net/x.c:12:3', 'warning'],
    ['BUG: Bad page state in process sh  pfn:12345', 'memory'],
    ['BUG: Bad page map in process sh  pte:8000000012345067 pmd:12345067', 'memory'],
    ['BUG: Bad rss-counter state mm:00000000deadbeef type:MM_FILEPAGES val:1', 'memory'],
    ['BUG kmalloc-64 (Tainted: G    B      OE K   ): Object already free', 'memory'],
    ['BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580', 'atomic'],
    ['BUG: spinlock lockup suspected on CPU#1, sh/313', 'atomic'],
    ['BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 34s!', 'atomic'],
    ['BUG: something of a later kernel', 'bug'],
    ['Kernel panic - not syncing: Fatal exception in interrupt', 'panic'],
  ];
  for (const [title, kind] of titles)
    assert.deepEqual(
      read(stamped([title])).map((it) => [it.title, it.kind]),
      [[title, kind]],
    );
});

test('ignores ordinary lines', () => {
  const lines = [
    'livepatch: enabling patch ’kmend_0123456789ab’',
    'systemd[1]: BUG: not the kernel’s',
    'sh[313]: segfault at 8 ip 000055da1540a4c8 sp 00007ffce2310c88 error 6 in sh[55da15400000+1000]',
    'sh: page allocation failure: order:5, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), nodemask=(null)',
    ' tcp_ack+0x16/0x20 [kmend_0123456789ab]',
    'Out of memory: Killed process 313 (sh)',
    'rcu: Hierarchical RCU implementation.',
    'NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.',
    '[drm] WARNING: firmware is old',
  ];
  assert.deepEqual(read(stamped(lines)), []);
});

test('counts only what began since the moment', () => {
  const log = stamped(warning(OURS), 50) + stamped(bug(OURS), 100) + stamped(atomic(OURS), 200);
  assert.deepEqual(short(log, 60), ['bug ours tcp_ack', 'atomic ours tcp_ack']);
  assert.deepEqual(short(log, 100.5), ['atomic ours tcp_ack']);
});

test('does not attribute the registers of the first oops to the second', () => {
  const log = stamped(nullPointer(OTHER), 100) + stamped(nullPointer(OURS), 101) + stamped(warning(OTHER), 102);
  assert.deepEqual(short(log), ['oops not ours e1000_clean', 'oops ours tcp_ack', 'warning not ours e1000_clean']);
});

test('separates CPUs that print at the same time by the caller column', () => {
  const one = stamped(warning(OURS), 100, 'T313').trimEnd().split('\n');
  const two = stamped(warning(OTHER), 100, 'C1').trimEnd().split('\n');
  const mixed = one.flatMap((it, index) => [it, two[index] ?? '']).join('\n');
  const found = read(mixed);
  assert.deepEqual(
    found.map((it) => [it.function, it.isOurs]),
    [
      ['tcp_ack', true],
      ['e1000_clean', false],
    ],
  );
  assert.deepEqual(found[1]?.lines, warning(OTHER).slice(0, found[1]?.lines.length));
});

test('keeps our complaints without the caller column', () => {
  const ours = warning('mutex_lock+0x1/0x20', OURS);
  const others = warning(OTHER);
  for (const [a, b] of [
    [ours, others],
    [others, ours],
  ] as const) {
    const mixed = stamped([...a.slice(0, 5), ...b.slice(0, 5), ...a.slice(5), ...b.slice(5)]);
    assert.deepEqual(
      read(mixed).map((it) => it.isOurs),
      [false, true],
    );
    assert.deepEqual(short(mixed + stamped(warning(OTHER), 100.5)).slice(2), ['warning not ours e1000_clean']);
  }
});

test('ends a truncated kernel report where the next begins', () => {
  const lost = stamped(nullPointer(OTHER).slice(0, 8));
  assert.deepEqual(short(lost + stamped(protectionFault(OURS), 101)), [
    'oops not ours e1000_clean',
    'oops ours tcp_ack',
  ]);
});

test('does not attribute lines after the end of a report', () => {
  const next = stamped(
    ['sh: page allocation failure: order:5', 'Call Trace:', ' <TASK>', ` ${OURS}`, ' </TASK>'],
    100.1,
  );
  for (const report of [
    warning(OTHER),
    atomic('msleep+0x29/0x40'),
    hungTask('mutex_lock+0x1/0x2'),
    kasan(OTHER, 'foo+0x1/0x2'),
  ]) {
    assert.equal(read(stamped(report) + next)[0]?.isOurs, false, report[0] ?? '');
  }
});

test('evaluates a second stack of one report separately', () => {
  const report = kasan(OTHER, 'asm_common_interrupt+0x22/0x40');
  const two = [...report.slice(0, -1), 'Call Trace:', ' <TASK>', ` ${OURS}`, ' </TASK>', ...report.slice(-1)];
  assert.deepEqual(short(stamped(two)), ['memory ours tcp_ack']);
});

test('ignores prefixes of levels and consoles', () => {
  const lines = stamped(warning(OURS)).trimEnd().split('\n');
  assert.deepEqual(short(lines.map((it) => `<4>${it}`).join('\n')), ['warning ours tcp_ack']);
  assert.deepEqual(short(lines.map((it) => `kern  :warn  : ${it}`).join('\n')), ['warning ours tcp_ack']);
});

test('attributes a report whose log was partly overwritten', () => {
  const whole = stamped(warning(OURS), 100).split('\n');
  const cut = whole.slice(5).join('\n');
  assert.deepEqual(short(cut, 60), ['cut ours tcp_ack']);
  // Not overwritten: the log goes back to before the moment, so nothing is missing.
  assert.deepEqual(short(stamped(['Linux version 6.1'], 0) + cut, 60), []);
});

test('does not let a line break in a message forge a log line', () => {
  const forged = `[  100.000000] usb 1-1: Product: x\nBUG: KASAN: x in ${OURS}\n${warning(OURS).join('\n')}\n`;
  assert.deepEqual(read(forged), []);
  const inside = stamped(warning(OTHER)).replace('Call Trace:\n', `Call Trace:\n ${OURS}\nRIP: 0010:${OURS}\n`);
  assert.deepEqual(short(inside), ['warning not ours e1000_clean']);
});

test('ends a report without an end line after a silence, and takes nothing of what comes later', () => {
  const later = stamped(['something else', 'Call Trace:', ' <TASK>', ` ${OURS}`, ' </TASK>'], 130);
  assert.deepEqual(short(stamped(softLockup(OTHER)) + later), ['soft-lockup not ours e1000_clean']);
  const lost = stamped(warning(OTHER).filter((it) => it !== END));
  assert.deepEqual(short(lost + later), ['warning not ours e1000_clean']);
});

test('keeps our complaint in a flood of others, and counts what it leaves out', () => {
  const flood = Array.from({ length: 300 }, (_, index) => stamped(warning(OTHER), 100 + index)).join('');
  const { complaints, dropped } = complaintsOf(flood + stamped(bug(OURS), 500), 0, suspect);
  assert.deepEqual([complaints.length, dropped], [11, 290]);
  assert.equal(complaints.at(-1)?.isOurs, true);
});

test('reads ten megabytes of hostile log in linear time with bounded output', () => {
  const piece: readonly string[] = [
    '------------[ cut here ]------------',
    `WARNING: CPU: 0 PID: 1 at ${'a '.repeat(400)}${'b'.repeat(500)}`,
    `${' '.repeat(900)}x+0x`,
    `${'a'.repeat(900)}: 0000 [#`,
    `INFO: task ${'blocked for more than '.repeat(40)}`,
    `BUG: KASAN: ${'in '.repeat(300)}+0x1`,
    `RIP: 0010:${'+0x'.repeat(300)}`,
  ];
  const hostile: readonly string[] = [
    Array.from({ length: 1600 }, (_, index) => stamped(piece, index, `T${index}`)).join(''),
    stamped([...piece, ...piece]).repeat(800),
    'x'.repeat(10_000_000),
    `[    1.000000] ${'['.repeat(10_000_000)}`,
    '[    1.000000] BUG: x\n'.repeat(450_000),
    '\n'.repeat(10_000_000),
  ];
  for (const log of hostile) {
    const began = cpuMs();
    const { complaints } = complaintsOf(log, 0, suspect);
    const took = cpuMs() - began;
    assert.ok(took < 8000, `${Math.round(took)} ms`);
    assert.ok(complaints.length <= 20);
    assert.ok(JSON.stringify(complaints).length < 20 * 81 * 210);
  }
});
