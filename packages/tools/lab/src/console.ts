const DEFAULT_LIMIT = 4 * 1024 * 1024;

/** What a host printed on its serial console, over all its boots: the last `limit` characters. */
export class ConsoleLog {
  readonly #limit: number;
  readonly #listeners = new Set<(line: string) => void>();
  #text = '';
  #partial = '';

  constructor(limit: number = DEFAULT_LIMIT) {
    this.#limit = limit;
  }

  append(chunk: string): void {
    const clean = chunk.replaceAll('\r', '');
    this.#text = (this.#text + clean).slice(-this.#limit);
    const lines = (this.#partial + clean).split('\n');
    this.#partial = (lines.pop() ?? '').slice(-DEFAULT_LIMIT);
    for (const line of lines) for (const listener of this.#listeners) listener(line);
  }

  /** Calls `listener` with every whole line from now on, until the returned function is called. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  text(): string {
    return this.#text;
  }

  /** The last lines, for an error's details. */
  tail(lines = 25): string {
    return this.#text.trimEnd().split('\n').slice(-lines).join('\n');
  }
}

/** The text of a kernel panic if the line announces one (kernel/panic.c, `panic()`). */
export function panicIn(line: string): string | undefined {
  return /Kernel panic - not syncing: (.*)/.exec(line)?.[1];
}
