import type { FixedComparison, VerdictReason } from '@kmend/protocol';
import type { Fix } from '../fix/model.ts';

/**
 * What a fix that takes only parts of a header's change along has to answer. A function that needs the rest may compile
 * without it, for example where flags move from one member of a struct to another: only the distribution's fixed kernel
 * tells. A function that differs from it over that header, or for no reason that was found, is refused; without a fixed
 * kernel it needs a review.
 */
export function partReasons(fixes: readonly Fix[], fixed: FixedComparison | undefined): VerdictReason[] {
  return fixes.flatMap(({ id, origin }): VerdictReason[] => {
    const parts = (origin.kind === 'debian' && origin.parts) || {};
    if (Object.keys(parts).length === 0) return [];
    const needing = (fixed?.different ?? [])
      .filter(({ cause, files }) => cause === 'unexplained' || files.some((path) => path in parts))
      .map(({ name, source, message }) => ({
        code: 'header-in-part' as const,
        verdict: 'refused' as const,
        message: `${name} may need the rest of ${Object.keys(parts).join(', ')}, which the fix takes only a part of: ${message}; import the fix with whole headers (--companions)`,
        source,
        symbol: name,
        fix: id,
      }));
    const isCompared = fixed !== undefined && fixed.compared > 0 && fixed.notCompared.length === 0;
    const unclear = Object.entries(parts).map(([source, names]) => ({
      code: 'header-in-part' as const,
      verdict: 'needs-review' as const,
      message: `of the change of ${source} only what concerns ${names.join(', ')} is taken, and not every function was compared with a fixed kernel: check that the fix does not need the rest`,
      source,
      fix: id,
    }));
    return isCompared ? needing : [...needing, ...unclear];
  });
}
