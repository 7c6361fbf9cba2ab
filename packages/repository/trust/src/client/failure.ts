import { diskFault, errorText } from '@kmend/base';
import { diskError, TrustError, type TrustErrorCode } from '../error.ts';

/**
 * tuf-js 6.0.2 wraps what its checks throw into plain text ("Unable to load targets error Error: ..."), so the check
 * that failed is known only by its message. The version is pinned; client/threats.test.ts meets each line here by a
 * real attack.
 */
const CHECKS: readonly (readonly [RegExp, TrustErrorCode])[] = [
  [/was signed by \d+\/\d+ keys|multiple signatures found|no delegation found/i, 'repository-unsigned'],
  [/is expired/, 'repository-expired'],
  [/Expected length|Expected hash|Max length reached/, 'repository-mismatch'],
  [
    /is less than current version|does not match snapshot version|doesn't match timestamp|Expected version \d+, got|Missing file .* in new snapshot|Missing .* in snapshot/,
    'repository-rollback',
  ],
];

const TEXTS: Partial<Record<TrustErrorCode, readonly [string, string]>> = {
  'repository-unsigned': [
    'a signature in the repository is missing or wrong',
    'it may be tampered with: ask its operator; if it is a new repository, hosts need its new root.json',
  ],
  'repository-expired': [
    'the repository’s signatures have expired',
    'is the patch server running, and is this host’s clock right? The server signs again while it runs',
  ],
  'repository-mismatch': [
    'a file of the repository is not the one that was signed',
    'a mirror or proxy may serve a damaged or mixed copy: copy the repository again',
  ],
  'repository-rollback': [
    'the repository offers an older state than this host has already seen',
    'a mirror may be stale, or the server was restored from an old backup (docs/trust.md, "Backup")',
  ],
  'repository-garbage': [
    'the repository answers something that is not TUF metadata',
    'check that the URL names a kmend repository and that no proxy or login page answers for it',
  ],
};

/** Gives a failure of an update its code. What is not the repository's fault (an abort, a bug) is passed through. */
export function updateFailure(error: unknown, directory: string): unknown {
  if (error instanceof TrustError) return error;
  if (diskFault(error) !== undefined) return diskError(error, directory, 'nothing was changed');
  const text = errorText(error);
  const code =
    CHECKS.find(([pattern]) => pattern.test(text))?.[1] ??
    (isMalformed(error, text) ? 'repository-garbage' : undefined);
  const words = code === undefined ? undefined : TEXTS[code];
  if (code === undefined || words === undefined) return error;
  return new TrustError(code, `${words[0]}: ${text}`, { cause: error, hint: words[1] });
}

/** Parsers fail with these; inside tuf-js's wrapping only the class's name is left. */
function isMalformed(error: unknown, text: string): boolean {
  return (
    error instanceof SyntaxError ||
    error instanceof TypeError ||
    /\b(SyntaxError|TypeError|ValueError)\b/.test(text) ||
    /must be|is not defined|Unsupported specVersion|Failed to parse|expected '\w+', got|missing |malformed/.test(text)
  );
}
