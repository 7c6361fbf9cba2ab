import { errorText } from '@kmend/base';
import { failureKind, TrustError } from '../error.ts';
import type { MirrorFailure } from './types.ts';

/** What some mirror of a repository gave, and which ones were passed over before. */
export interface Attempted<T> {
  readonly result: T;
  readonly passedOver: readonly MirrorFailure[];
}

/**
 * The addresses that carry one repository. None of them is trusted: whatever one of them does wrong (no answer, files
 * missing, an old state, forged bytes), the next one may do right.
 */
export class Mirrors {
  /** The one that worked last is the first. */
  #order: readonly string[];

  constructor(urls: string | readonly string[]) {
    this.#order = [...new Set([urls].flat().map((url) => url.replace(/\/+$/, '')))];
    if (this.#order.length === 0) throw new TypeError('a repository has at least one address');
  }

  /** The one to begin with. */
  get first(): string {
    return this.#order[0] ?? '';
  }

  /** Puts one that has worked before the others; an address that is no mirror of the list changes nothing. */
  prefer(url: string): void {
    if (this.#order.includes(url)) this.#order = [url, ...this.#order.filter((other) => other !== url)];
  }

  /** Tries one mirror after the other, until work succeeds or fails for a reason that no other mirror can mend. */
  async attempt<T>(signal: AbortSignal, work: (url: string) => Promise<T>): Promise<Attempted<T>> {
    const failures: { readonly url: string; readonly error: TrustError }[] = [];
    for (const url of this.#order) {
      try {
        const result = await work(url);
        if (failures.length > 0) this.prefer(url);
        return { result, passedOver: failures.map(describe) };
      } catch (error) {
        signal.throwIfAborted();
        if (!isOfMirror(error)) throw error;
        failures.push({ url, error });
      }
    }
    throw together(failures);
  }
}

/** Whether a failure is one of the address asked, so that another one may do better. */
function isOfMirror(error: unknown): error is TrustError {
  if (!(error instanceof TrustError)) return false;
  if (error.code === 'not-found') return error.details?.['url'] !== undefined;
  return failureKind(error) !== 'local';
}

function describe({ url, error }: { readonly url: string; readonly error: TrustError }): MirrorFailure {
  return { url, code: error.code, message: errorText(error) };
}

/** The worst first: a mirror that answers what must not be believed tells more than one that does not answer. */
const SEVERITY = { untrusted: 0, local: 1, unreachable: 2 } as const;

function together(failures: readonly { readonly url: string; readonly error: TrustError }[]): TrustError {
  const sorted = failures.toSorted((a, b) => SEVERITY[failureKind(a.error)] - SEVERITY[failureKind(b.error)]);
  const [worst] = sorted;
  if (worst === undefined) throw new TypeError('a repository has at least one address');
  // One mirror, or something signed that is wrong wherever it comes from.
  if (sorted.every(({ error }) => error.message === worst.error.message)) return worst.error;
  const texts = sorted.map(({ url, error }) => `${url}: ${error.message}`);
  return new TrustError(worst.error.code, `none of ${sorted.length} mirrors could be used; ${texts.join('; ')}`, {
    cause: worst.error,
    details: { mirrors: sorted.map(describe) },
    ...(worst.error.hint === undefined ? {} : { hint: worst.error.hint }),
  });
}
