import type { FixedDifference, VerdictReason } from '@kmend/protocol';

/** A difference with the words for it. `why`: what differs first. */
export function differenceMessage(found: Omit<FixedDifference, 'message'>, why: string): FixedDifference {
  const message = `${found.name} is not what ${found.version} has: ${why}; ${causeText(found)}`;
  return { ...found, message: message.slice(0, 2000) };
}

function causeText({ cause, files, name, source, version }: Omit<FixedDifference, 'message'>): string {
  switch (cause) {
    case 'own-function':
      return `${name} itself has further changes in ${version}, which the fixes leave out (${source})`;
    case 'own-file':
      return `equal with all of ${source} as ${version} has it, which has more changes than the fixes`;
    case 'line-numbers':
      return `equal with the line numbers that ${source} has in ${version}`;
    case 'other-files':
      return `equal with ${files.join(' ')} as ${version} has ${files.length === 1 ? 'it' : 'them'}, which the fixes leave out: does the fix need that?`;
    case 'unexplained':
      return `no files of ${version} were found that make it equal, compiled here`;
  }
}

/**
 * Other changes of the function's file are what the fixes were chosen without. A header of the same upload that changes
 * the code of a function which is replaced may belong to the fix, as a struct that it changes.
 */
export function differenceReason({ cause, message, source, name }: FixedDifference): VerdictReason[] {
  if (cause === 'own-file' || cause === 'line-numbers') return [];
  return [{ code: 'fixed-kernel-differs', verdict: 'needs-review', message, source, symbol: name }];
}
