import { errorCode, errorText, KmendError, type Progress } from '@kmend/base';

/** Where the command line writes: results to `out`, everything said on the way to `err`. */
export interface Streams {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown; readonly isTTY?: boolean };
}

/** How a command shows things: one JSON document on stdout under `--json`, text for people otherwise. */
export interface Terminal {
  readonly json: boolean;
  readonly progress: Progress;
  /** The command's result: `data` as JSON, or the lines that `text` makes of it. */
  result<T>(data: T, text: (data: T) => string): void;
  /** A remark on stderr, in both modes. */
  note(text: string): void;
  error(error: unknown): void;
}

export function createTerminal(streams: Streams, json: boolean): Terminal {
  const { progress, clear } = createProgress(streams.err);
  return {
    json,
    progress,
    result(data, text) {
      clear();
      streams.out.write(json ? `${JSON.stringify(data, null, 2)}\n` : `${text(data).trimEnd()}\n`);
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
        streams.out.write(`${JSON.stringify({ error: body }, null, 2)}\n`);
      }
      streams.err.write(`kmend: ${errorText(error)} [${code}]\n`);
      if (hint !== undefined) streams.err.write(`  ${hint}\n`);
      if (code === 'internal' && error instanceof Error) streams.err.write(`${error.stack ?? ''}\n`);
    },
  };
}

const REDRAW_MS = 100;

/** One redrawn line on a terminal; a line a step elsewhere. */
function createProgress(err: Streams['err']): { progress: Progress; clear(): void } {
  let step = '';
  let drawn = false;
  let last = 0;
  const clear = (): void => {
    if (drawn) err.write('\r\x1b[K');
    drawn = false;
  };
  const draw = (text: string): void => {
    clear();
    err.write(text.slice(0, 118));
    drawn = true;
  };
  return {
    clear,
    progress: {
      step(text) {
        step = text;
        last = 0;
        if (err.isTTY) draw(`  ${step}`);
        else err.write(`  ${step}\n`);
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

/**
 * Text that somebody else wrote, fit to be shown: control characters (line ends, escape sequences) could make a terminal show what is not
 * so. Each becomes U+FFFD.
 */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, '\u{fffd}');
}

/** Rows as aligned columns under a heading. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows];
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
