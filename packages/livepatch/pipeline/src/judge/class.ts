import type { Outcome } from './judge.ts';

/** The outcome of one fix by itself. */
export function classOf(outcome: Outcome): string {
  const { error, verdict, reasons = [], companions } = outcome;
  if (companions !== undefined) return 'needs-companion';
  if (error !== undefined) return error.code === 'unit-not-built' ? 'not-built' : 'failed';
  if (verdict !== 'refused') return verdict ?? 'failed';
  const refused = reasons.filter((reason) => reason.verdict === 'refused').map(({ code }) => code);
  if (refused.includes('unit-not-in-kernel')) return 'not-built';
  if (refused.includes('audit-failed')) return 'audit-failed';
  if (!refused.every((code) => code === 'no-function-changed')) return 'refused';
  return reasons.some(({ code }) => code === 'init-changed') ? 'init-or-exit-only' : 'no-code-changed';
}

/** Its outcome with the files that it needs. */
export function wholeClassOf(outcome: Outcome): string {
  const { companions, together } = outcome;
  if (companions === undefined) return classOf(outcome);
  return together === undefined ? 'no-companions-found' : classOf(together);
}

/** There is nothing to patch, or not in this kernel. */
export const NOTHING: readonly string[] = ['not-built', 'init-or-exit-only', 'no-code-changed'];
