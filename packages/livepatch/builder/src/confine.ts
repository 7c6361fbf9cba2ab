import { writeFile } from 'node:fs/promises';
import type { Run } from '@kmend/base';
import { exists } from '@kmend/base/node';
import { type BuildRoot, sandboxed } from '@kmend/toolchain';
import { AUTHOR_INCLUDE } from './author/header.ts';

/**
 * Runs tools of a build root on what a fix wrote. `reads`: files and folders that they see; `writes`: the files that
 * they make, which are there before, so that nothing else can be filled or overwritten; a folder only where that cannot
 * be. Paths are absolute.
 */
export async function confined(
  run: Run,
  { directory }: BuildRoot,
  reads: readonly string[],
  writes: readonly string[] = [],
): Promise<Run> {
  for (const path of writes) if (!(await exists(path))) await writeFile(path, '');
  return sandboxed(run, {
    root: directory,
    system: 'compiler',
    readOnly: [...reads, AUTHOR_INCLUDE],
    writable: writes,
  });
}

/** Runs the kernel's objtool of a tree on one object, in place. */
export function confinedChecker(run: Run, { directory }: BuildRoot, tree: string, object: string): Run {
  return sandboxed(run, { root: directory, system: 'checker', readOnly: [tree], writable: [object] });
}

/** Runs what builds a kernel tree, in the tree: make and the programs that it makes. No text of a fix is in there. */
export function confinedMake(run: Run, root: BuildRoot, directory: string, reads: readonly string[] = []): Run {
  return sandboxed(run, { root: root.directory, system: 'build', readOnly: reads, writable: [directory] });
}
