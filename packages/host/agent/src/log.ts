import { errorCode, errorText, escapedJson, KmendError } from '@kmend/base';

export const levels = ['debug', 'info', 'warn', 'error'] as const;
export type Level = (typeof levels)[number];
export type Log = (level: Level, message: string, data?: Readonly<Record<string, unknown>>) => void;

/** Priorities of sd-daemon(3), which the journal takes from the start of a line. */
const priorities: Record<Level, number> = { debug: 7, info: 6, warn: 4, error: 3 };

/** Log lines for the journal: fixed message, then `key=value`. `journal`: put the priority in front. */
export function createLog(write: (line: string) => void, least: Level, journal: boolean): Log {
  return (level, message, data = {}) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    const pairs = Object.entries(data)
      .filter(([, value]) => value !== undefined)
      .map(
        ([key, value]) => ` ${key}=${typeof value === 'string' ? quoted(value) : escapedJson(JSON.stringify(value))}`,
      );
    write(`${journal ? `<${priorities[level]}>` : ''}${message}${pairs.join('')}\n`);
  };
}

function quoted(value: string): string {
  return /^[\w.:/@+-]+$/.test(value) ? value : escapedJson(JSON.stringify(value));
}

/** What a log line says of an error. */
export function errorData(error: unknown): Record<string, unknown> {
  const hint = error instanceof KmendError ? error.hint : undefined;
  return { code: errorCode(error) ?? 'internal', error: errorText(error), hint };
}
