import { isDeepStrictEqual } from 'node:util';
import { BuilderError } from '../error.ts';
import { type DeltaTexts, type Proposal, propose } from '../fix/companions.ts';
import type { Fix } from '../fix/model.ts';
import type { HeaderParts } from '../fix/part.ts';
import type { TrialFailure } from './trial.ts';

/** What a fix that was taken from a delta needs beside its own files. */
export interface Companions {
  /** Its C files that this kernel is not built from: nothing was compiled of them. */
  readonly leftOut: readonly string[];
  /** It compiles as it is. */
  readonly compiles: boolean;
  readonly companions: readonly string[];
  /** Of these companions only what concerns definitions of these names. */
  readonly parts?: HeaderParts;
  /** With the companions it compiles. */
  readonly complete: boolean;
  /** Why it does not, else. */
  readonly why?: string;
}

/** A fix with more files than this beside its own is a change of design. */
const COMPANIONS_LIMIT = 20;

/** What a search works with. `leftOut`: C files of the fix that this kernel is not built from. */
export interface CompanionSearch {
  readonly leftOut: readonly string[];
  readonly delta: DeltaTexts;
  readonly how: 'whole' | 'parts';
  /** Compiles a fix; what stands in its way. */
  readonly attempt: (fix: Fix) => Promise<readonly TrialFailure[]>;
  /** The same fix with more files. */
  readonly extend: (paths: readonly string[], parts: HeaderParts) => Promise<Fix>;
  readonly signal: AbortSignal;
}

/** Adds files of the delta to a fix until it compiles, or until nothing more of the delta helps. */
export async function searchCompanions(
  fix: Fix,
  { leftOut, delta, how, attempt, extend, signal }: CompanionSearch,
): Promise<Companions> {
  let have: Proposal = { files: fix.files, parts: (fix.origin.kind === 'debian' && fix.origin.parts) || {} };
  const found = (complete: boolean, why?: string): Companions => {
    const companions = have.files.filter((path) => !fix.files.includes(path)).sort();
    const parts = Object.keys(have.parts).length === 0 ? {} : { parts: have.parts };
    const compiles = complete && companions.length === 0;
    return { leftOut, compiles, companions, ...parts, complete, ...(why === undefined ? {} : { why }) };
  };
  for (let current = fix; ; ) {
    try {
      const failures = await attempt(current);
      if (failures.length === 0) return found(true);
      const next = await propose(delta, have, failures, how);
      const more = next.files.length - fix.files.length;
      if (more > COMPANIONS_LIMIT)
        return found(
          false,
          `${more} other files would be needed; more than ${COMPANIONS_LIMIT} are a change of design`,
        );
      if (isDeepStrictEqual(next, have)) {
        const [first] = failures;
        return found(
          false,
          first?.errors[0] ?? `${first?.source} uses ${first?.names.join(', ')}, which the kernel does not have`,
        );
      }
      have = next;
      current = await extend(have.files, have.parts);
    } catch (error) {
      // A companion that cannot be built for this kernel is no help.
      if (have.files.length === fix.files.length || !(error instanceof BuilderError)) throw error;
      return found(false, error.message);
    }
    signal.throwIfAborted();
  }
}
