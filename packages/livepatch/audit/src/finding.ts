/** What the audit found wrong. `code` is stable; docs/audit.md lists them. */
export type FindingCode =
  | 'load-refused'
  | 'object-refused'
  | 'relocation-unapplied'
  | 'relocation-missing'
  | 'branch-astray'
  | 'reference-astray'
  | 'function-unpatchable'
  | 'manifest-differs'
  | 'table-astray'
  | 'unit-uncovered'
  | 'variable-differs'
  | 'reference-differs'
  | 'code-unreadable';

export interface Finding {
  readonly code: FindingCode;
  /** What is wrong, with the evidence: addresses, names, what the shipped kernel has. */
  readonly message: string;
  /** The patched object, `vmlinux` or a module, during whose loading or running it matters. */
  readonly object?: string;
  readonly symbol?: string;
}

/** Findings of one audit; the first of each text only, and no more than a person reads. */
export class Findings {
  readonly list: Finding[] = [];
  readonly #seen = new Set<string>();

  add(
    code: FindingCode,
    message: string,
    place: { object?: string | undefined; symbol?: string | undefined } = {},
  ): void {
    const { object, symbol } = place;
    const key = `${code} ${message}`;
    if (this.#seen.has(key) || this.list.length >= LIMIT) return;
    this.#seen.add(key);
    this.list.push({
      code,
      message,
      ...(object === undefined ? {} : { object }),
      ...(symbol === undefined ? {} : { symbol }),
    });
  }
}

const LIMIT = 1000;
