import type { StatusDocument } from './document.ts';

/**
 * The distribution's version of a kernel, out of what uname(2) says: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3
 * (2026-05-08)`.
 */
const DISTRIBUTION_VERSION = /(?:^|\s)([0-9]+\.[0-9]+\.[A-Za-z0-9.+~-]+)\s+\([0-9]{4}-/;

/**
 * The version that this host is as good as: what the livepatch's maker states, else the running kernel's own version
 * with `+kmend` and the serial in force. Without a livepatch in force for every task it is the running kernel's own.
 */
export function effectiveVersion({ kernel, effectiveSerial, effectiveVersion: stated }: StatusDocument): string {
  const own = DISTRIBUTION_VERSION.exec(kernel.version)?.[1] ?? kernel.version;
  if (effectiveSerial === null) return own;
  return stated ?? `${own}+kmend${effectiveSerial}`;
}
