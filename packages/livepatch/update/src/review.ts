import { sha256 } from '@kmend/base/node';
import type { ToldReason } from '@kmend/protocol';

/** What tells one question to a person from another. */
export type ReviewReason = Pick<ToldReason, 'code' | 'verdict' | 'source' | 'symbol'>;

/**
 * Names a change by its content: the same lines changed among the same lines have the same key, wherever in the file
 * they are, and whatever kernel or upload they are of. 64 hex digits.
 */
export function changeKey(patch: string): string {
  // Of the head of a hunk, `@@ -10,7 +12,9 @@ function`, the numbers and the function's name are left out.
  const content = patch.split('\n').map((line) => (line.startsWith('@@') ? '@@' : line));
  return sha256(Buffer.from(content.join('\n'), 'latin1'));
}

/** Whether all that is to be reviewed was accepted: another reason for the same change is a new question. */
export function isCovered(reasons: readonly ReviewReason[], accepted: readonly ReviewReason[]): boolean {
  const known = new Set(accepted.map(questionOf));
  return reasons.every((reason) => reason.verdict === 'needs-review' && known.has(questionOf(reason)));
}

/** Messages are left out: they have names of kernels and counts in them. */
function questionOf({ code, source = '', symbol = '' }: ReviewReason): string {
  return [code, source, symbol].join('\n');
}
