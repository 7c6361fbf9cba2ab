import { diskFault, errorText } from '@kmend/base';
import type { ApiError } from '@kmend/protocol';
import { TrustError } from '@kmend/trust';
import type { FastifyError } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ServerError } from '../error.ts';
import { statusOf } from './status.ts';

export interface Answer {
  readonly status: number;
  readonly body: ApiError;
}

/** What of a failure a client sees. What is not meant for it (a bug, a path) stays in the log. */
export function answerTo(error: unknown): Answer {
  const known = asKnown(error);
  const { code, message, hint } = known;
  return {
    status: statusOf(known) ?? 500,
    body: { error: { code, message, ...(hint === undefined ? {} : { hint }) } },
  };
}

/** The same for clients that show an answer as it is: package managers, browsers. */
export function plainText({ error: { code, message, hint } }: ApiError): string {
  return [`${code}: ${message}`, ...(hint === undefined ? [] : [hint]), ''].join('\n');
}

type Answered = ServerError | TrustError;

function isAnswered(error: unknown): error is Answered {
  return error instanceof ServerError || error instanceof TrustError;
}

function asKnown(error: unknown): Answered {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const issues = error.validation.map((issue) => `${issue.instancePath || 'body'}: ${issue.message}`);
    return new ServerError('bad-request', `the request is malformed: ${issues.slice(0, 5).join('; ')}`);
  }
  if (isAnswered(error) && statusOf(error) !== null) return error;
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
