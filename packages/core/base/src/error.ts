/**
 * The one error shape of kmend. Each package closes `Code` over its own union in its `error.ts`; programs (the CLI,
 * the API, metrics) act on `code` alone, people read `message` (what happened) and `hint` (the way out).
 */
export class KmendError<Code extends string = string> extends Error {
  override readonly name = 'KmendError';
  readonly code: Code;
  /** What the user can do about it, one sentence; absent only where the message already says it. */
  readonly hint: string | undefined;
  /** Machine-readable particulars: file, symbol, expected and actual values. Never a secret. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: Code,
    message: string,
    options: ErrorOptions & { hint?: string; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** The code of a kmend error, or `undefined` for anything else. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof KmendError ? error.code : undefined;
}

/** A one-line text for an unknown thrown value. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
