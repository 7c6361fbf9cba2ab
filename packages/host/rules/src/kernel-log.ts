/** What the kernel complained of. `cut`: a report whose beginning is no longer in the log. */
export const complaintKinds = [
  'oops',
  'bug',
  'warning',
  'soft-lockup',
  'hard-lockup',
  'rcu-stall',
  'hung-task',
  'memory',
  'atomic',
  'panic',
  'cut',
] as const;
export type ComplaintKind = (typeof complaintKinds)[number];

/**
 * What a report ends with: `---[ end trace …]---` (kernel/panic.c), the end of the task's stack (`</TASK>`,
 * arch/x86/kernel/dumpstack.c), a ruler (mm/kasan/report.c), or nothing but silence.
 */
export type ReportEnd = 'end-trace' | 'stack' | 'ruler' | 'silence';

export interface Heading {
  readonly kind: ComplaintKind;
  readonly until: ReportEnd;
  /** `cut here`, before the line that says what it is (lib/bug.c). */
  readonly isPending?: true;
  /** The line with `[#1]` that follows what says why (arch/x86/kernel/dumpstack.c, __die_header). */
  readonly isDeath?: true;
}

export interface HeadingRule extends Heading {
  /** A `PatternSource` (pattern.ts), as every pattern here. */
  readonly pattern: string;
  /** The files of 6.1 that print it. */
  readonly printedBy: string;
}

/** Subsystems that put their name before a heading. */
export const headingPrefix = '^(NMI watchdog|watchdog|rcu|traps): ';

/** First lines of reports, without `headingPrefix`; the first that fits counts. */
export const headings: readonly HeadingRule[] = [
  {
    pattern: '^-{8,}\\[ cut here \\]-{8,}$',
    kind: 'warning',
    until: 'end-trace',
    isPending: true,
    printedBy: 'include/asm-generic/bug.h',
  },
  {
    pattern: '^WARNING: CPU: \\d+ PID: \\d+ at ',
    kind: 'warning',
    until: 'end-trace',
    printedBy: 'kernel/panic.c',
  },
  { pattern: '^Kernel panic - not syncing: ', kind: 'panic', until: 'end-trace', printedBy: 'kernel/panic.c' },
  {
    pattern: '^WARNING: (possible |suspicious |inconsistent |bad unlock |lock held |Nested lock )',
    kind: 'atomic',
    until: 'stack',
    printedBy: 'kernel/locking/lockdep.c',
  },
  { pattern: '^[Kk]ernel BUG at ', kind: 'bug', until: 'end-trace', printedBy: 'lib/bug.c' },
  {
    pattern: '^BUG: (kernel NULL pointer dereference|unable to handle |\\w+ stack guard page was hit)',
    kind: 'oops',
    until: 'end-trace',
    printedBy: 'arch/x86/mm/fault.c',
  },
  { pattern: '^PANIC: double fault', kind: 'oops', until: 'end-trace', printedBy: 'arch/x86/kernel/traps.c' },
  {
    pattern: '^[^[\\]]+: [0-9a-f]{4} \\[#\\d+\\]',
    kind: 'oops',
    until: 'end-trace',
    isDeath: true,
    printedBy: 'arch/x86/kernel/dumpstack.c',
  },
  { pattern: '^BUG: soft lockup - CPU#', kind: 'soft-lockup', until: 'silence', printedBy: 'kernel/watchdog.c' },
  {
    pattern: '^Watchdog detected hard LOCKUP on cpu ',
    kind: 'hard-lockup',
    until: 'silence',
    printedBy: 'kernel/watchdog_hld.c',
  },
  {
    pattern: '^INFO: \\w+ (detected (expedited )?stalls on|self-detected stall on)',
    kind: 'rcu-stall',
    until: 'silence',
    printedBy: 'kernel/rcu/tree_stall.h, kernel/rcu/tree_exp.h',
  },
  {
    pattern: '^INFO: task .+ blocked for more than \\d+ seconds\\.$',
    kind: 'hung-task',
    until: 'stack',
    printedBy: 'kernel/hung_task.c',
  },
  {
    pattern: '^BUG: (KASAN|KFENCE|KCSAN|KMSAN): ',
    kind: 'memory',
    until: 'ruler',
    printedBy: 'mm/kasan/report.c, mm/kfence/report.c',
  },
  { pattern: '^UBSAN: ', kind: 'warning', until: 'ruler', printedBy: 'lib/ubsan.c' },
  {
    pattern: '^BUG: (Bad (page|rss-counter)|non-zero pgtables_bytes)',
    kind: 'memory',
    until: 'stack',
    printedBy: 'mm/page_alloc.c, mm/memory.c, kernel/fork.c',
  },
  { pattern: '^BUG [\\w\\-]+ \\(', kind: 'memory', until: 'stack', printedBy: 'mm/slub.c' },
  {
    pattern: '^BUG: (scheduling |sleeping function |assuming |using |spinlock |rwlock |workqueue )',
    kind: 'atomic',
    until: 'stack',
    printedBy: 'kernel/sched/core.c, kernel/locking/spinlock_debug.c, kernel/workqueue.c, lib/smp_processor_id.c',
  },
  { pattern: '^BUG: ', kind: 'bug', until: 'stack', printedBy: 'anything else of a later kernel' },
];

/** Whose stack is that of what was interrupted: just that is what these are about. */
export const kindsOfTheInterrupted: readonly ComplaintKind[] = ['soft-lockup', 'hard-lockup', 'rcu-stall'];

/** The heading that a report without one gets. */
export const cutHeading: Heading = { kind: 'cut', until: 'end-trace' };
export const cutTitle = 'a report whose beginning is no longer in the log';

/** The last line of a report. */
export const reportEnds = {
  'end-trace': '^---\\[ end (trace|Kernel panic)',
  stack: '^ </TASK>$',
  ruler: '^={20,}$',
} as const satisfies Record<Exclude<ReportEnd, 'silence'>, string>;

/**
 * `name+0x2a/0x100 [module]`, also with the build id that CONFIG_STACKTRACE_BUILD_ID adds (lib/vsprintf.c, %pS and
 * %pBb).
 */
const SYMBOL = '([^ \\t+]+)\\+0x[0-9a-f]+\\/0x[0-9a-f]+(?: \\[(\\w+)(?: [0-9a-f]+)?\\])?$';

export const logPatterns = {
  /** Level and facility before the time: `<6>`, or `kern  :info  : ` of `dmesg --decode`. */
  level: '^(?:<\\d+>|\\w+ *:\\w+ *: )',
  /** Seconds since boot. A line without it counts for nothing: a line break in a message may hold what a user chose. */
  stamp: '^\\[ *(\\d+\\.\\d+)\\]',
  /** The column of CONFIG_PRINTK_CALLER tells CPUs apart that print at the same time. */
  caller: '^ ?\\[ *([TC]\\d+)\\]',
  /** Comes just before a report and says what it is of: lib/list_debug.c, lib/string_helpers.c, mm/usercopy.c. */
  foreword: '^(list_(add|del) |detected buffer overflow in |usercopy: |(traps: )?Missing ENDBR: )',
  /** Belongs to a report: registers, stacks, and what stands about them. */
  dump:
    '^([ \\t]|[A-Z][A-Z0-9]{1,2}: |Call Trace:|Code: |CPU: |Hardware name: |Workqueue: |Modules linked in: ' +
    '|NMI backtrace |Sending NMI |task:|PGD |#PF: |---\\[|={20,}$)',
  symbol: `^${SYMBOL}`,
  /** A line of a call trace; `? ` where the unwinder does not vouch for it. */
  frame: `^[ \\t]+(\\? )?${SYMBOL}`,
  /** The function that the instruction pointer is in. */
  pointer: `^RIP: [0-9a-f]{4}:${SYMBOL}`,
  /** The function that a heading names. */
  headingSymbol: `^(?:WARNING: CPU: .+|BUG: K[A-Z]+: .+ in) ${SYMBOL}`,
  /** Where arch/x86/include/asm/idtentry.h enters the kernel without the interrupted code's doing. */
  interrupt: '^asm_(sysvec_\\w+|common_interrupt|spurious_interrupt|exc_nmi|exc_machine_check)$',
} as const;

export const logLimits = {
  /** Characters looked at of a line: the kernel's own are shorter (kernel/printk/printk.c, PRINTKRB_RECORD_MAX). */
  line: 1024,
  /** Characters kept of a line. */
  text: 200,
  /** Lines kept of a report; the packages' loader keeps fewer, in its state. */
  lines: 80,
  packagesLines: 40,
  /** Seconds: a report without an end is over when nothing that looks like one came for so long. */
  silence: 10,
  /** A foreword counts for a report that begins so many seconds after it. */
  foreword: 1,
  /** Reports that are open at once: more callers do not print at a time. */
  open: 64,
  /** Lines into an overwritten log in which a report without a beginning is looked for. */
  cut: 200,
} as const;
