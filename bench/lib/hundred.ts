import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FROM, KERNEL, SUITE, TO } from '@kmend/harness';
import type { Outcome } from '@kmend/pipeline';
import type { FixOfOneFile } from './bare-compiler.ts';
import { coverageFolder } from './coverage-folder.ts';

export interface Hundred {
  readonly ids: readonly string[];
  /** One more, of a file of its own. */
  readonly last: FixOfOneFile;
}

/** A hundred real fixes that can be patched together, and one more: from what `script/bench coverage` found. */
export async function hundred(
  kmend: (cache: string, ...args: string[]) => Promise<unknown>,
  cache: string,
): Promise<Hundred> {
  const path = join(coverageFolder(cache, KERNEL, TO), 'coverage.json');
  const text = await readFile(path, 'utf8').catch(() => {
    throw new Error('the cumulative part needs fixes that are known to be patchable: run script/bench coverage first');
  });
  const { outcomes } = JSON.parse(text) as { readonly outcomes: readonly Outcome[] };
  const paths = outcomes.filter(({ verdict }) => verdict === 'patchable').map((outcome) => outcome.paths[0] ?? '');
  if (paths.length < 101) throw new Error(`only ${paths.length} of the fixes of script/bench coverage are patchable`);
  const fixes = paths.slice(0, 101).map((file, index) => ({ id: `F${index}`, path: file }));
  for (const fix of fixes) {
    const range = ['--from', FROM, '--to', TO, '--suite', SUITE, '--no-check'];
    await kmend(cache, 'fix', 'import', '--id', fix.id, '--path', fix.path, ...range);
  }
  const last = fixes.pop();
  if (last === undefined) throw new Error('no fix is left');
  // The flags of its file are asked for outside the measured time.
  await kmend(cache, 'build', '--kernel', KERNEL, '--fix', last.id, '--out', join(cache, 'bench', 'last'));
  return { ids: fixes.map(({ id }) => id), last };
}
