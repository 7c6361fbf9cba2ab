/**
 * What a sound kernel never prints: lib/bug.c, kernel/panic.c, the sanitizers, lockdep, the watchdogs, branch tracking
 * (arch/x86/kernel/cet.c), livepatch's own refusals, and whatever the loader says of a livepatch's module beside how it
 * taints (kernel/module/main.c).
 */
const COMPLAINTS: readonly RegExp[] = [
  /\b(?:BUG|WARNING|Oops|Call Trace|KASAN|KCSAN|KFENCE|UBSAN)\b/,
  /general protection|control protection|missing ENDBR|double fault|invalid opcode|stack segment|unable to handle/i,
  /\b(?:soft|hard) lockup|hung task|blocked for more than|detected stalls|self-detected stall/i,
  /refcount_t:|list_(?:add|del) corruption|bad page (?:state|map)|slab corruption|usercopy: /i,
  /circular locking|recursive locking|inconsistent lock state|suspicious RCU usage|bad unlock balance|lock held when returning/i,
  /scheduling while atomic|sleeping function called/i,
  /page allocation failure|out of memory|oom-kill/i,
  /\] kmend_\w+: (?!loading out-of-tree module taints|tainting kernel with TAINT_LIVEPATCH|module verification failed: )/,
  /livepatch: .*(?:failed|refusing|unable|invalid|not found)/i,
];

/** Lines of a kernel log that must not be there. */
export function complaints(log: string): string[] {
  return log.split('\n').filter((line) => COMPLAINTS.some((pattern) => pattern.test(line)));
}

/**
 * Taints that say nothing against a livepatch: 12 out-of-tree module, 13 unsigned module, 15 livepatch, and of what
 * exercises use: 16 the distribution's own (Debian's kernel sets it when a program asks fanotify for permission
 * events), 18 test modules (Documentation/admin-guide/tainted-kernels.rst).
 */
const EXPECTED_TAINTS: ReadonlySet<number> = new Set([12, 13, 15, 16, 18]);

/** Bits of `/proc/sys/kernel/tainted` that were set since `before` and mean trouble, e.g. 9: a warning. */
export function newTaints(before: number, now: number): number[] {
  return Array.from({ length: 32 }, (_, bit) => bit).filter(
    (bit) => !EXPECTED_TAINTS.has(bit) && ((now >>> bit) & 1) === 1 && ((before >>> bit) & 1) === 0,
  );
}
