import { claimRule, claimText, patternOf } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { diskError } from '../error.ts';
import type { Journal } from './journal.ts';

const MODULE = patternOf(claimRule.module);

/**
 * What the packages' loader must know of a journal, as the file has it; `undefined`: the agent claims nothing. Pure.
 */
export function claimOf({ current }: Journal, bootId: string): string | undefined {
  if (current === null || current.phase === 'failed' || current.bootId !== bootId) return undefined;
  if (!MODULE.test(current.module)) return undefined;
  return claimText({ module: current.module, state: current.phase === 'loading' ? 'loading' : 'loaded' });
}

/** The claim on disk: root writes it, whole or not at all; the packages' loader reads it. */
export interface ClaimFile {
  /** Makes the file say what this journal says. */
  save(journal: Journal): Promise<void>;
}

/** The file of this boot, whatever an earlier run of the agent left in it. */
export async function openClaim(edges: Edges, bootId: string): Promise<ClaimFile> {
  await edges.files.directory(paths.loaderRuntime, 0o750);
  // What is too long for a claim is none of ours: it is replaced.
  let there = await edges.files.text(paths.claim, claimRule.limit).catch(() => '');
  return {
    async save(journal) {
      const wanted = claimOf(journal, bootId);
      if (wanted === there) return;
      try {
        if (wanted === undefined) await edges.files.remove(paths.claim);
        else await edges.files.writeAtomic(paths.claim, wanted, 0o640);
      } catch (error) {
        throw diskError(error, paths.loaderRuntime);
      }
      there = wanted;
    },
  };
}
