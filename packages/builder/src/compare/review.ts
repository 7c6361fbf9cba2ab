import type { Fix } from '../fix/model.ts';
import type { Reason } from '../types.ts';

const LOCKS =
  /\b(?:(?:mutex|spin|raw_spin|read|write|rt_mutex|ww_mutex|bh|local|seq|percpu_(?:down|up))_?(?:un)?lock\w*|(?:down|up)_(?:read|write)\w*|(?:down|up)\(|rcu_read_(?:un)?lock\w*|lock_sock\w*|release_sock)\b/;

/**
 * What a machine cannot judge: a fix that takes or drops a lock changes who may run beside whom, and during the transition old and new
 * code do.
 */
export function reviewFix(fix: Fix): Reason[] {
  const lines = fix.patch.split('\n').filter((line) => /^[-+](?![-+]{2} )/.test(line) && LOCKS.test(line));
  if (lines.length === 0) return [];
  const shown = lines
    .slice(0, 3)
    .map((line) => line.replaceAll(/\s+/g, ' ').trim())
    .join('; ');
  return [
    {
      code: 'lock-protocol',
      verdict: 'needs-review',
      message: `${fix.id} changes locking (${shown}); old and new code run side by side during the transition`,
    },
  ];
}
