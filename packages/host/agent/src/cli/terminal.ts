import { errorCode, errorText, escapedJson, KmendError, shownJson, shownText } from '@kmend/base';

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

/**
 * Everything that the agent's commands write passes here, and nothing that a terminal obeys gets through: the words
 * come from servers, from tasks' names, and from the fetcher, whom root does not trust either.
 */
export function createTerminal(streams: Streams, json: boolean): Terminal {
  const out = { write: (text: string) => streams.out.write(shownText(text)) };
  const err = { write: (text: string) => streams.err.write(shownText(text)) };
  return {
    json,
    result(data, text) {
      out.write(json ? `${shownJson(data)}\n` : `${text(data).trimEnd()}\n`);
    },
    raw(text) {
      out.write(json ? escapedJson(text) : text);
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
        out.write(`${shownJson({ error: body })}\n`);
      }
      err.write(`kmend-agent: ${inset(message)} [${code}]\n`);
      if (known?.hint !== undefined) err.write(`  ${inset(known.hint)}\n`);
      if (known === undefined && error instanceof Error) err.write(`${error.stack ?? ''}\n`);
    },
  };
}

/** No line of a foreign message begins where a line of ours does. */
function inset(text: string): string {
  return text.replaceAll('\n', '\n    ');
}
