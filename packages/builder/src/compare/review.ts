import type { Fix } from '../fix/model.ts';
import type { Reason } from '../types.ts';

/** Calls that by their name take or drop a lock. */
const LOCKS =
  /\b(?:\w+_)?(?:try|un)?lock(?:_\w+)?\s*\(|\b(?:mutex|rwsem|seqcount|rcu_read|rcu)_\w*(?:lock|begin|end)\w*\s*\(|\b(?:down|up)(?:_(?:read|write)\w*|_interruptible|_killable|_trylock)?\s*\(/;

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
