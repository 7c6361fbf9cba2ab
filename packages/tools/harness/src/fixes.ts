/** What the demo, the tests and the benchmarks work on: a stock Debian 12 kernel and fixes Debian shipped after it. */

export const SUITE = 'bookworm';
export const KERNEL = '6.1.0-47-amd64';
export const FROM = '6.1.170-3';
export const TO = '6.1.176-1';

export interface DemoFix {
  readonly id: string;
  readonly path: string;
  readonly severity: 'medium' | 'high';
  readonly hardware: boolean;
}

export const FIXES = [
  { id: 'CVE-2026-53249', path: 'net/ipv4/ip_options.c', severity: 'medium', hardware: false },
  { id: 'CVE-2026-52972', path: 'crypto/af_alg.c', severity: 'high', hardware: false },
  { id: 'CVE-2025-21863', path: 'io_uring/io_uring.c', severity: 'medium', hardware: true },
] as const satisfies readonly DemoFix[];

/** A stock Debian 13 kernel. */
export const TRIXIE = {
  suite: 'trixie',
  kernel: '6.12.111+deb13-amd64',
  from: '6.12.111-1',
  to: '6.12.118-1',
} as const;

/** Fixes of one file each, for `TRIXIE`. */
export const TRIXIE_FIXES = [
  { id: 'em_text-algorithm', path: 'net/sched/em_text.c', severity: 'medium', hardware: false },
  { id: 'cipso', path: 'net/ipv4/cipso_ipv4.c', severity: 'medium', hardware: false },
  { id: 'fib_trie', path: 'net/ipv4/fib_trie.c', severity: 'medium', hardware: false },
] as const satisfies readonly DemoFix[];

/**
 * Flaws of 2026 that the stock kernels of Debian 12 and 13 have, each in one file, with a reproducer in the lab: what
 * Debian changed there until `SHARED_FIXED` and `TRIXIE.to`.
 */
export const SHARED_FLAWS = [
  { id: 'CVE-2026-93146', path: 'kernel/time/namespace.c' },
  { id: 'em_text-algorithm', path: 'net/sched/em_text.c' },
] as const;
/** Debian 12's kernel in which they are fixed. */
export const SHARED_FIXED = '6.1.192-3';

/** The one that a second cumulative livepatch adds. */
export const MORE: DemoFix = { id: 'CVE-2026-52923', path: 'ipc/util.c', severity: 'medium', hardware: false };

/** Two versions of the kernel that Debian shipped in a suite. */
export interface UpdateRange {
  readonly suite: string;
  readonly from: string;
  readonly to: string;
}

/** Imports fixes with `kmend`, from the difference between two Debian versions. */
export async function importFixes(
  kmend: (...args: string[]) => Promise<unknown>,
  fixes: readonly DemoFix[] = FIXES,
  { suite, from, to }: UpdateRange = { suite: SUITE, from: FROM, to: TO },
): Promise<void> {
  for (const { id, path, severity, hardware } of fixes) {
    const range = ['--from', from, '--to', to, '--path', path, '--suite', suite];
    await kmend('fix', 'import', '--id', id, ...range, '--severity', severity, ...(hardware ? ['--hardware'] : []));
  }
}
