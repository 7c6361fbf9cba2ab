import { join } from 'node:path';

/** Where `script/bench coverage` keeps its results: those of one kernel and upload are not those of another. */
export function coverageFolder(cache: string, release: string, to: string): string {
  return join(cache, 'bench', 'coverage', `${release}_${to}`);
}
