import { errorCode, errorText, KmendError } from '@kmend/base';

export interface Terminal {
  readonly json: boolean;
  /** The command's result: one JSON document, or the lines that `text` makes of it. */
  result<T>(data: T, text: (data: T) => string): void;
  /** What another process of the agent made of its result already. */
  raw(text: string): void;
  /** Said on the way, on stderr. */
  note(text: string): void;
  error(error: unknown): void;
}

export interface Streams {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown };
}

export function createTerminal({ out, err }: Streams, json: boolean): Terminal {
  return {
    json,
    result(data, text) {
      out.write(json ? `${JSON.stringify(data, null, 2)}\n` : `${text(data).trimEnd()}\n`);
    },
    raw(text) {
      out.write(text);
    },
    note(text) {
      err.write(`${text}\n`);
    },
    error(error) {
      const code = errorCode(error) ?? 'internal';
      const known = error instanceof KmendError ? error : undefined;
      const message = errorText(error);
      if (json) {
        const body = { code, message, hint: known?.hint, details: known?.details };
        out.write(`${JSON.stringify({ error: body }, null, 2)}\n`);
      }
      err.write(`kmend-agent: ${message} [${code}]\n`);
      if (known?.hint !== undefined) err.write(`  ${known.hint}\n`);
      if (known === undefined && error instanceof Error) err.write(`${error.stack ?? ''}\n`);
    },
  };
}
