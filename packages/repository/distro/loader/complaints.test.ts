import assert from 'node:assert/strict';
import { test } from 'node:test';
// The agent and the packages' loader must blame the same livepatches for the same log, so what the agent is tried with
// is tried here.
import { complaintsOf } from '@kmend/rules';
import {
  atomic,
  bug,
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
} from '@kmend/rules/testing';
import fc from 'fast-check';
import { allShells, shells } from './testing/host.ts';
import { runParts } from './testing/shell.ts';

const SUSPECT = `suspect ${MODULE} 0\npatches vmlinux tcp_ack\n`;

function look(shell: readonly string[], log: string, suspects = SUSPECT): string[] {
  return runParts(shell, ['rules', 'complaints'], 'complaints_in', `${suspects}\n${log}`).filter(Boolean);
}

const short = (found: readonly string[]): string[] =>
  found.filter((it) => it.startsWith('complaint ')).map((it) => it.split(' ').slice(1, 4).join(' '));

const logs: Record<string, string> = {};
for (const [name, report] of Object.entries({ warning, bug, nullPointer, protectionFault, softLockup, rcuStall })) {
  logs[`${name} in it`] = stamped(report(OURS));
  logs[`${name} below it`] = stamped(report('mutex_lock+0x1/0x20', OURS));
  logs[`${name} elsewhere`] = stamped(report(OTHER, 'net_rx+0x1/0x20'));
  logs[`${name} in what it patches`] = stamped(report('tcp_ack.cold+0x1f/0x130'));
  logs[`${name} above what it patches`] = stamped(report(OTHER, 'tcp_ack+0x1f/0x130'));
  logs[`${name} in a function of the same name`] = stamped(report('tcp_ack+0x1f0/0x1300 [other]'));
}
for (const [name, report] of Object.entries({ atomic, hungTask })) {
  logs[`${name} below it`] = stamped(report('mutex_lock+0x1/0x20', OURS));
  logs[`${name} elsewhere`] = stamped(report('mutex_lock+0x1/0x20'));
}
logs['KASAN in it'] = stamped(kasan(OURS, 'foo+0x1/0x2'));
logs['KASAN elsewhere'] = stamped(kasan('kfree+0x1/0x2', 'foo+0x1/0x2'));
logs['a guess of the unwinder'] = stamped(warning(OTHER, `? ${OURS}`));
logs['nothing but guesses'] = stamped([
  'BUG: scheduling while atomic: sh/1/0x2',
  'Call Trace:',
  ' <TASK>',
  ` ? ${OURS}`,
  ' ? schedule+0x1/0x2',
  ' </TASK>',
]);
logs['a build id behind the name'] = stamped(
  warning('mutex_lock+0x1/0x20', `tcp_ack+0x16/0x20 [${MODULE} ${'0f'.repeat(20)}]`),
);
logs['merely interrupted'] = stamped(interrupted(OURS, OURS));
logs['in the interrupt'] = stamped(interrupted(OTHER).map((it) => (it.startsWith(' run_timer') ? ` ${OURS}` : it)));
logs['one after the other'] =
  stamped(nullPointer(OTHER), 100) + stamped(nullPointer(OURS), 101) + stamped(warning(OTHER), 102);
logs['no report'] = stamped([
  'livepatch: enabling patch ’kmend_0123456789ab’',
  'systemd[1]: BUG: not the kernel’s',
  ` ${OURS}`,
  'rcu: Hierarchical RCU implementation.',
  '[drm] WARNING: firmware is old',
]);
logs['a report without a beginning'] = stamped(warning(OURS).slice(4));
logs['two at once'] = mixed(stamped(warning(OURS), 100, 'T313'), stamped(warning(OTHER), 100, 'C1'));
logs['two at once, the other one first'] = mixed(
  stamped(warning(OTHER), 100, 'C1'),
  stamped(warning(OURS), 100, 'T313'),
);
logs['two at once, of unknown callers'] = stamped([
  ...warning('mutex_lock+0x1/0x20', OURS).slice(0, 5),
  ...warning(OTHER).slice(0, 5),
  ...warning('mutex_lock+0x1/0x20', OURS).slice(5),
  ...warning(OTHER).slice(5),
]);
logs['lines that a user made'] = `${stamped(['comm is a'])}BUG: x\n${warning(OURS).join('\n')}\n`;
logs.nothing = '';

function mixed(one: string, two: string): string {
  const others = two.split('\n');
  return one
    .split('\n')
    .flatMap((it, index) => [it, others[index] ?? ''])
    .join('\n');
}

const frames = fc.constantFrom(
  OURS,
  OTHER,
  'tcp_ack+0x1f/0x130',
  'tcp_ack.cold+0x1f/0x130',
  `? ${OURS}`,
  'foo+0x1/0x2',
);
const kinds = [warning, bug, nullPointer, protectionFault, softLockup, rcuStall, kasan, interrupted];
const reports = fc.oneof(
  fc
    .tuple(fc.constantFrom(...kinds), frames, fc.array(frames, { maxLength: 3 }))
    .map(([make, pointer, stack]) => make(pointer.replace('? ', ''), ...stack)),
  fc
    .tuple(fc.constantFrom(atomic, hungTask), fc.array(frames, { maxLength: 3 }))
    .map(([make, stack]) => make(...stack)),
  fc.constantFrom(
    ['systemd[1]: started'],
    ['BUG: of a later kernel', ` ${OURS}`],
    ['UBSAN: shift in x.c:1:2', ` ${OTHER}`],
  ),
);
/** Lines of several reports as CPUs print them: some lost, one after the other or in between, with pauses. */
const hostileLogs = fc
  .array(
    fc.record({
      lines: reports,
      caller: fc.constantFrom('T1', 'T22', 'C1'),
      start: fc.nat(30),
      step: fc.constantFrom(0, 0, 0.001, 0.4, 3),
      lost: fc.array(fc.nat(40), { maxLength: 3 }),
      cut: fc.constantFrom(0, 0, 0, 4),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .chain((parts) =>
    fc.record({ parts: fc.constant(parts), callers: fc.boolean(), since: fc.constantFrom(0, 0, 50, 57.5) }),
  )
  .map(({ parts, callers, since }) => {
    const all = parts.flatMap(({ lines, caller, start, step, lost, cut }, part) =>
      lines
        .slice(cut)
        .flatMap((text, index) =>
          lost.includes(index) ? [] : { at: 50 + start / 2 + index * step, part, text, caller },
        ),
    );
    // Microseconds tell the lines of one moment apart, as in a log.
    const inOrder = all.toSorted((a, b) => a.at - b.at);
    const log = inOrder.map(({ at, text, caller }, index) =>
      stamped([text], at + index / 1e6, callers ? caller : undefined),
    );
    return { log: log.join(''), since };
  });

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: blames a livepatch in logs of all kinds where the rule does`, (t) => {
    const suspect = { module: MODULE, objects: [{ name: 'vmlinux', functions: [{ name: 'tcp_ack' }] }] };
    let blamed = 0;
    const cases = fc.sample(hostileLogs, { numRuns: 60, seed: 17 });
    for (const { log, since } of cases) {
      const found = complaintsOf(log, since, suspect).complaints.find(({ isOurs }) => isOurs);
      const wanted = found === undefined ? [] : [`${MODULE} ${found.kind} ${found.function} ${found.title}`];
      const complaints = look(shell, log, SUSPECT.replace(' 0\n', ` ${since}\n`)).filter((it) =>
        it.startsWith('complaint '),
      );
      assert.deepEqual(
        complaints.map((it) => it.slice('complaint '.length)),
        wanted,
        log,
      );
      if (found !== undefined) blamed++;
    }
    t.diagnostic(`${blamed} of ${cases.length} logs blame it`);
    assert.ok(blamed > 15 && blamed < cases.length - 10, `${blamed}`);
  });
}

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: attributes the same complaints as the agent`, () => {
    const suspect = {
      module: MODULE,
      objects: [{ name: 'vmlinux', functions: [{ name: 'tcp_ack', sympos: 0, source: 'x.c' }] }],
    };
    let blamed = 0;
    for (const [what, log] of Object.entries(logs)) {
      const found = complaintsOf(log, 0, suspect).complaints.find(({ isOurs }) => isOurs);
      const wanted = found === undefined ? [] : [`${MODULE} ${found.kind} ${found.function}`];
      const lines = look(shell, log);
      assert.deepEqual(short(lines), wanted, what);
      if (found === undefined) continue;
      blamed++;
      assert.equal(lines[0], `complaint ${wanted[0]} ${found.title}`, what);
      // Tabs are blanks in what is kept.
      const kept = found.lines.slice(0, 40).map((it) => it.replaceAll('\t', ' '));
      assert.deepEqual(
        lines.filter((it) => it.startsWith('log ')).map((it) => it.slice(4)),
        kept,
        what,
      );
    }
    assert.ok(blamed > 20, `${blamed}`);
  });

  test(`${name}: knows every first line that the agent knows`, () => {
    const titles = [
      'BUG: unable to handle page fault for address: ffffffffc0a0b0c0',
      'BUG: TASK stack guard page was hit at ffffc90000a7ff58 (stack is ffffc90000a80000..ffffc90000a84000)',
      'traps: PANIC: double fault, error_code: 0x0',
      'divide error: 0000 [#1] PREEMPT SMP PTI',
      'stack segment: 0000 [#1] SMP NOPTI',
      'kernel BUG at mm/slub.c:435!',
      'WARNING: possible circular locking dependency detected',
      'WARNING: suspicious RCU usage',
      'NMI watchdog: Watchdog detected hard LOCKUP on cpu 3',
      'rcu: INFO: rcu_sched self-detected stall on CPU',
      'BUG: KFENCE: use-after-free read in tcp_write_xmit+0x1/0x20',
      'UBSAN: array-index-out-of-bounds in drivers/net/x.c:12:3',
      'BUG: Bad page state in process sh  pfn:12345',
      'BUG kmalloc-64 (Tainted: G    B      OE K   ): Object already free',
      'BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580',
      'BUG: something of a later kernel',
      'Kernel panic - not syncing: Fatal exception in interrupt',
      'an ordinary line',
    ];
    for (const title of titles) {
      const log = stamped([title, 'Call Trace:', ' <TASK>', ` ${OURS}`]);
      const found = complaintsOf(log, 0, { module: MODULE, objects: [] }).complaints[0];
      const wanted = found === undefined ? [] : [`${MODULE} ${found.kind} tcp_ack`];
      assert.deepEqual(short(look(shell, log)), wanted, title);
    }
  });

  test(`${name}: judges each livepatch from its own load on, and blames it once`, () => {
    const log = stamped(warning(OURS), 50) + stamped(bug('tcp_ack+0x1/0x20'), 100) + stamped(warning(OURS), 200);
    const from = (seconds: string): string => SUSPECT.replace(' 0\n', ` ${seconds}\n`);
    assert.deepEqual(short(look(shell, log, from('0'))), [`${MODULE} warning tcp_ack`]);
    assert.deepEqual(short(look(shell, log, from('60.5'))), [`${MODULE} bug tcp_ack`]);
    assert.deepEqual(short(look(shell, log, from('1000'))), []);
    // What began before does not belong to this load, though it continues.
    assert.deepEqual(short(look(shell, stamped(warning(OURS), 60.5), from('60.500001'))), []);
    const other = `suspect kmend_000000000001 60\npatches vmlinux tcp_ack\n`;
    assert.deepEqual(short(look(shell, log, from('0') + other)), [
      `${MODULE} warning tcp_ack`,
      'kmend_000000000001 bug tcp_ack',
    ]);
    assert.deepEqual(
      look(shell, log).filter((it) => it.startsWith('last ')),
      [`last ${/.*\[ *([0-9.]+)\]/s.exec(log)?.[1]}`],
    );
    assert.deepEqual(look(shell, 'no time stamps here\n'), []);
  });

  test(`${name}: reads a hostile log in linear time`, () => {
    const began = performance.now();
    look(shell, stamped([...Array(2000)].map(() => `BUG: ${'['.repeat(500)}${'+0x1'.repeat(100)}`)));
    // A shell of its own: by the clock, with room for a busy machine. Quadratic it would be hours.
    assert.ok(performance.now() - began < 60_000);
  });
}
