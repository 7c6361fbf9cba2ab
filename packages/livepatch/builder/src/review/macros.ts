import type { Reason } from '../types.ts';
import type { ScannedFile } from './functions.ts';

/**
 * Macro constants whose value changes: debug information does not show them, and what the running kernel keeps may hold
 * the old value. Texts are left out: nothing is compared with a message.
 */
export function macroReasons(path: string, before: ScannedFile, after: ScannedFile): Reason[] {
  const reasons: Reason[] = [];
  for (const [name, value] of after.constants) {
    const old = before.constants.get(name);
    if (old === undefined || old === value || /^"/.test(value)) continue;
    const users = [...after.functions].filter(([, body]) => body.some(({ text }) => text === name));
    const names = users.map(([user]) => user);
    if (path.endsWith('.h')) names.push('what includes it');
    if (names.length === 0) continue;
    const shown = names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ');
    reasons.push({
      code: 'macro-changed',
      verdict: 'needs-review',
      message: `${name} changes from ${old} to ${value} (used in ${shown}); live objects may hold the old value`,
      source: path,
      symbol: name,
    });
  }
  return reasons;
}
