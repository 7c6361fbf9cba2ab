import type { Reason } from '../types.ts';

/**
 * Shadow variables (kernel/livepatch/shadow.c) have no owner: what is allocated stays when the livepatch is gone,
 * unless its code frees them all. `names`: symbols that the extracted object of a unit needs.
 */
export function shadowReasons(source: string, names: readonly string[]): Reason[] {
  const allocates = names.some((name) => name === 'klp_shadow_alloc' || name === 'klp_shadow_get_or_alloc');
  if (!allocates || names.includes('klp_shadow_free_all')) return [];
  const message =
    'the fix allocates shadow variables and never frees all of them (klp_shadow_free_all): they outlive a revert, and the next livepatch with their id finds them as they were left';
  return [{ code: 'shadow-kept', verdict: 'needs-review', message, source }];
}
