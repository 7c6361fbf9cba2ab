import { diskFault, errorText, KmendError } from '@kmend/base';
import type { ApiError } from '@kmend/protocol';
import type { FastifyError } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';

/** HTTP status of each code that a request may meet; any other is 500. */
const STATUS: Readonly<Record<string, number>> = {
  'bad-request': 400,
  'policy-invalid': 422,
  unauthorized: 401,
  'host-removed': 401,
  'key-unknown': 403,
  'key-expired': 403,
  'key-revoked': 403,
  'key-no-seats': 403,
  'host-unnamed': 403,
  'not-found': 404,
  'sequence-jump': 409,
  'publication-outdated': 409,
  'publication-duplicate': 409,
  'key-wrong': 409,
  'packages-busy': 409,
  'too-large': 413,
  'tar-too-large': 413,
  'tar-file-too-large': 413,
  'tar-too-many-files': 413,
  'range-unsatisfiable': 416,
  'tar-damaged': 422,
  'tar-extended': 422,
  'tar-link': 422,
  'tar-special': 422,
  'tar-path-absolute': 422,
  'tar-path-escapes': 422,
  'tar-path-too-long': 422,
  'tar-path-unusable': 422,
  'tar-duplicate': 422,
  'packages-incomplete': 422,
  'packages-unsigned': 422,
  'upload-mismatch': 422,
  'publication-invalid': 422,
  'publication-unsigned': 422,
  'publication-removes': 422,
  'publication-mismatch': 422,
  'livepatch-unreadable': 422,
  'rate-limited': 429,
  'server-stopping': 503,
  'disk-full': 507,
  'disk-read-only': 507,
  'disk-failing': 507,
};

export interface Answer {
  readonly status: number;
  readonly body: ApiError;
}

/** What a client is told of a failure. What is not meant for it (a bug, a path) stays in the log. */
export function answerTo(error: unknown): Answer {
  const known = asKnown(error);
  const status = STATUS[known.code] ?? 500;
  const { code, message, hint } = known;
  return { status, body: { error: { code, message, ...(hint === undefined ? {} : { hint }) } } };
}

/** The same for whoever shows what it gets as it is: package managers, browsers. */
export function plainText({ error: { code, message, hint } }: ApiError): string {
  return [`${code}: ${message}`, ...(hint === undefined ? [] : [hint]), ''].join('\n');
}

function asKnown(error: unknown): KmendError {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const issues = error.validation.map((issue) => `${issue.instancePath || 'body'}: ${issue.message}`);
    return new ServerError('bad-request', `the request is malformed: ${issues.slice(0, 5).join('; ')}`);
  }
  if (error instanceof KmendError && STATUS[error.code] !== undefined) return error;
  if (error instanceof z.ZodError) return internal();
  const fault = diskFault(error);
  if (fault !== undefined)
    return new ServerError(fault.code, 'the server cannot write to its disk', { hint: fault.hint });
  const { statusCode } = error as Partial<FastifyError>;
  // apt and dnf go by the status: what they hold of a file is whole, or of another one.
  if (statusCode === 416) return new ServerError('range-unsatisfiable', 'the range is beyond the end of the file');
  if (statusCode === 413) return new ServerError('too-large', 'the request is larger than allowed');
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ServerError('bad-request', errorText(error));
  }
  return internal();
}

function internal(): ServerError {
  return new ServerError('internal', 'the server failed', { hint: 'see the server’s log' });
}
