/** What the kernel complained of. `cut`: a report whose beginning is no longer in the log. */
export type ComplaintKind =
  | 'oops'
  | 'bug'
  | 'warning'
  | 'soft-lockup'
  | 'hard-lockup'
  | 'rcu-stall'
  | 'hung-task'
  | 'memory'
  | 'atomic'
  | 'panic'
  | 'cut';

export interface Heading {
  readonly kind: ComplaintKind;
  /**
   * What a report of this kind ends with: `---[ end trace …]---` (kernel/panic.c), the end of the task's stack (`</TASK>`,
   * arch/x86/kernel/dumpstack.c), a ruler (mm/kasan/report.c), or nothing but silence.
   */
  readonly until: 'end-trace' | 'stack' | 'ruler' | 'silence';
  /** `cut here`, before the line that says what it is (lib/bug.c). */
  readonly isPending?: true;
  /** The line with `[#1]` that follows what says why (arch/x86/kernel/dumpstack.c, __die_header). */
  readonly isDeath?: true;
}

type Rule = readonly [pattern: RegExp, heading: Heading];

/** First lines of reports, the first that fits; behind each the file of 6.1 that prints it. */
const rules: readonly Rule[] = [
  // include/asm-generic/bug.h
  [/^-{8,}\[ cut here \]-{8,}$/, { kind: 'warning', until: 'end-trace', isPending: true }],
  // kernel/panic.c
  [/^WARNING: CPU: \d{1,6} PID: \d{1,10} at /, { kind: 'warning', until: 'end-trace' }],
  [/^Kernel panic - not syncing: /, { kind: 'panic', until: 'end-trace' }],
  // kernel/locking/lockdep.c
  [
    /^WARNING: (possible |suspicious |inconsistent |bad unlock |lock held |Nested lock )/,
    { kind: 'atomic', until: 'stack' },
  ],
  // lib/bug.c
  [/^kernel BUG at /i, { kind: 'bug', until: 'end-trace' }],
  // arch/x86/mm/fault.c, arch/x86/kernel/traps.c
  [
    /^(BUG: (kernel NULL pointer dereference|unable to handle |\w{1,20} stack guard page was hit)|PANIC: double fault)/,
    { kind: 'oops', until: 'end-trace' },
  ],
  [/^[^[\]]{1,200}: [0-9a-f]{4} \[#\d{1,6}\]/, { kind: 'oops', until: 'end-trace', isDeath: true }],
  // kernel/watchdog.c, kernel/watchdog_hld.c
  [/^BUG: soft lockup - CPU#/, { kind: 'soft-lockup', until: 'silence' }],
  [/^Watchdog detected hard LOCKUP on cpu /, { kind: 'hard-lockup', until: 'silence' }],
  // kernel/rcu/tree_stall.h, kernel/rcu/tree_exp.h
  [/^INFO: \w{1,30} (detected (expedited )?stalls on|self-detected stall on)/, { kind: 'rcu-stall', until: 'silence' }],
  // kernel/hung_task.c
  [/^INFO: task .{1,64} blocked for more than \d{1,10} seconds\.$/, { kind: 'hung-task', until: 'stack' }],
  // mm/kasan/report.c, mm/kfence/report.c, lib/ubsan.c
  [/^BUG: (KASAN|KFENCE|KCSAN|KMSAN): /, { kind: 'memory', until: 'ruler' }],
  [/^UBSAN: /, { kind: 'warning', until: 'ruler' }],
  // mm/page_alloc.c, mm/memory.c, kernel/fork.c, mm/slub.c
  [/^BUG: (Bad (page|rss-counter)|non-zero pgtables_bytes)/, { kind: 'memory', until: 'stack' }],
  [/^BUG [\w-]{1,64} \(/, { kind: 'memory', until: 'stack' }],
  // kernel/sched/core.c, kernel/locking/spinlock_debug.c, kernel/workqueue.c, lib/smp_processor_id.c
  [
    /^BUG: (scheduling |sleeping function |assuming |using |spinlock |rwlock |workqueue )/,
    { kind: 'atomic', until: 'stack' },
  ],
  [/^BUG: /, { kind: 'bug', until: 'stack' }],
];

/** The heading that a line of the kernel log is, without its time stamp; `undefined` for any other line. */
export function headingOf(text: string): Heading | undefined {
  const bare = text.replace(/^(NMI watchdog|watchdog|rcu|traps): /, '');
  return rules.find(([pattern]) => pattern.test(bare))?.[1];
}

/** Lines that come just before a report and say what it is of: lib/list_debug.c, lib/string_helpers.c, mm/usercopy.c. */
export function isForeword(text: string): boolean {
  return /^(list_(add|del) |detected buffer overflow in |usercopy: |(traps: )?Missing ENDBR: )/.test(text);
}

/** Lines that belong to a report: registers, stacks, and what stands about them. */
export function isDump(text: string): boolean {
  return /^(\s|[A-Z][A-Z0-9]{1,2}: |Call Trace:|Code: |CPU: |Hardware name: |Workqueue: |Modules linked in: |NMI backtrace |Sending NMI |task:|PGD |#PF: |---\[|={20,}$)/.test(
    text,
  );
}

export interface KernelSymbol {
  readonly name: string;
  /** `vmlinux` or a module. */
  readonly object: string;
}

/** `name+0x2a/0x100 [module]`, also with the build id that CONFIG_STACKTRACE_BUILD_ID adds (lib/vsprintf.c, %pS and %pBb). */
const SYMBOL = String.raw`([^\s+]{1,512})\+0x[0-9a-f]{1,8}\/0x[0-9a-f]{1,8}(?: \[(\w{1,64})(?: [0-9a-f]{40})?\])?$`;
const FRAME = new RegExp(String.raw`^\s{1,16}(\? )?${SYMBOL}`);
const POINTER = new RegExp(String.raw`^RIP: [0-9a-f]{4}:${SYMBOL}`);
const HEADING = new RegExp(String.raw`^(?:WARNING: CPU: .{1,300}|BUG: K\w+: .{1,100} in) ${SYMBOL}`);

/** A line of a call trace; `isGuess` where the unwinder does not vouch for it (`? name`). */
export function frameOf(text: string): (KernelSymbol & { readonly isGuess: boolean }) | undefined {
  const [, guess, name, module] = FRAME.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux', isGuess: guess !== undefined };
}

/** The function that the instruction pointer is in; `undefined` for user space and for addresses that no function is at. */
export function pointerOf(text: string): KernelSymbol | undefined {
  const [, name, module] = POINTER.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux' };
}

/** The function that a heading names. */
export function symbolOfHeading(text: string): KernelSymbol | undefined {
  const [, name, module] = HEADING.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux' };
}
