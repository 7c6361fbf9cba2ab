import { errorCode, errorText, KmendError, type Progress, shownJson, shownLine, shownText } from '@kmend/base';

/** Where the command line writes: results to `out`, everything said on the way to `err`. */
export interface Streams {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown; readonly isTTY?: boolean };
}

/** The output of a command: one JSON document on stdout under `--json`, text for people otherwise. */
export interface Terminal {
  readonly json: boolean;
  readonly progress: Progress;
  /** The command's result: `data` as JSON, or the lines that `text` makes of it. */
  result<T>(data: T, text: (data: T) => string): void;
  /** A remark on stderr, in both modes. */
  note(text: string): void;
  error(error: unknown): void;
}

/**
 * The same streams, through which nothing that a terminal obeys gets: everything that this command line writes passes
 * here, from any source (a server's error, a host's name, a compiler's message that quotes a patch).
 */
export function shownStreams({ out, err }: Streams): Streams {
  return {
    out: { write: (text) => out.write(shownText(text)) },
    err: { write: (text) => err.write(shownText(text)), isTTY: err.isTTY === true },
  };
}

export function createTerminal(raw: Streams, json: boolean): Terminal {
  const streams = shownStreams(raw);
  const { progress, clear } = createProgress(streams.err, () => raw.err.write(ERASE_LINE));
  return {
    json,
    progress,
    result(data, text) {
      clear();
      streams.out.write(json ? `${shownJson(data)}\n` : `${text(data).trimEnd()}\n`);
    },
    note(text) {
      clear();
      streams.err.write(`${text}\n`);
    },
    error(error) {
      clear();
      const code = errorCode(error) ?? 'internal';
      const hint = error instanceof KmendError ? error.hint : undefined;
      if (json) {
        const details = error instanceof KmendError ? error.details : undefined;
        const body = { code, message: errorText(error), hint, details };
        streams.out.write(`${shownJson({ error: body })}\n`);
      }
      streams.err.write(`kmend: ${inset(errorText(error))} [${code}]\n`);
      if (hint !== undefined) streams.err.write(`  ${inset(hint)}\n`);
      if (code === 'internal' && error instanceof Error) streams.err.write(`${error.stack ?? ''}\n`);
    },
  };
}

/** No line of a foreign message begins where a line of ours does. */
function inset(text: string): string {
  return text.replaceAll('\n', '\n    ');
}

const REDRAW_MS = 100;
/** Ours alone: no text that is shown may hold it. */
const ERASE_LINE = '\r\x1b[K';

/** One redrawn line on a terminal; a line a step elsewhere. */
function createProgress(err: Streams['err'], erase: () => unknown): { progress: Progress; clear(): void } {
  let step = '';
  let drawn = false;
  let last = 0;
  const clear = (): void => {
    if (drawn) erase();
    drawn = false;
  };
  const draw = (text: string): void => {
    clear();
    err.write(shownLine(text).slice(0, 118));
    drawn = true;
  };
  return {
    clear,
    progress: {
      step(text) {
        step = text;
        last = 0;
        if (err.isTTY) draw(`  ${step}`);
        else err.write(`  ${shownLine(step)}\n`);
      },
      advance(done, total, unit) {
        const now = performance.now();
        if (!err.isTTY || now - last < REDRAW_MS) return;
        last = now;
        draw(`  ${step} ${amount(done, unit)}${total === undefined ? '' : ` of ${amount(total, unit)}`}`);
      },
    },
  };
}

function amount(value: number, unit: 'bytes' | 'files' | 'items' | undefined): string {
  return unit === 'bytes' ? `${(value / 1_000_000).toFixed(1)} MB` : `${value}`;
}

/** A size for people. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`;
}

/** Rows as aligned columns under a heading. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  // A cell is one line, whatever a host calls itself.
  const all = [heading, ...rows].map((row) => row.map(shownLine));
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
