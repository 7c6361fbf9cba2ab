import { readFile } from 'node:fs/promises';
import { errorText } from '@kmend/base';
import { ServerError } from '../error.ts';

/** Where the operator's token may come from; never from the command line, which everyone on the machine can read. */
export interface TokenSource {
  /** `KMEND_TOKEN` wins over the file. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The server's `operator-token`, or a copy of it. */
  readonly file: string;
}

/** Throws `token-unreadable`. */
export async function readOperatorToken({ env, file }: TokenSource): Promise<string> {
  const fromEnv = env['KMEND_TOKEN']?.trim();
  if (fromEnv !== undefined && fromEnv !== '') return checked(fromEnv, 'KMEND_TOKEN');
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new ServerError('token-unreadable', `cannot read the operator's token: ${errorText(cause)}`, {
      cause,
      hint: 'set KMEND_TOKEN, or --token-file: the server wrote operator-token in its data directory',
    });
  });
  return checked(text.trim(), file);
}

function checked(token: string, source: string): string {
  if (/^[\x21-\x7e]{8,200}$/.test(token)) return token;
  throw new ServerError('token-unreadable', `${source} holds no token`, {
    hint: 'copy operator-token from the server’s data directory again',
  });
}
