import type { FixedComparison, VerdictReason } from '@kmend/protocol';
import type { Fix } from '../fix/model.ts';

/**
 * What a person has to look at where a fix takes only parts of a header's change along. A function that needs the rest compiles without it too, for example
 * where the header changes a limit: only the distribution's fixed kernel tells, so that there is nothing to ask where every function was compared with it.
 */
export function partReasons(fixes: readonly Fix[], fixed: FixedComparison | undefined): VerdictReason[] {
  if (fixed !== undefined && fixed.compared > 0 && fixed.notCompared.length === 0) return [];
  return fixes.flatMap(({ id, origin }) =>
    Object.entries((origin.kind === 'debian' && origin.parts) || {}).map(([source, names]) => ({
      code: 'header-in-part' as const,
      verdict: 'needs-review' as const,
      message: `of the change of ${source} only what concerns ${names.join(', ')} is taken, and no fixed kernel was compared with: check that the fix does not need the rest`,
      source,
      fix: id,
    })),
  );
}
