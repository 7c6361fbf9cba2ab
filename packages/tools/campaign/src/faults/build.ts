import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KERNEL, type Operator, patchOf } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';

/** A livepatch as `kmend build --out` leaves it: `kmend publish DIRECTORY --unproven` takes it. */
export interface BuiltLivepatch {
  readonly directory: string;
  readonly manifest: Livepatch;
  /** Name of the kernel module. */
  readonly module: string;
  /** The module on this machine. */
  readonly file: string;
}

/** A change of one file of the kernel's source. */
export interface Edit {
  readonly path: string;
  readonly edit: (text: string) => string;
}

/**
 * Builds a cumulative livepatch with the operator's `kmend build`, its fixes named after `name`; what wants a review is
 * accepted.
 */
export async function buildLivepatch(
  operator: Operator,
  name: string,
  edits: readonly Edit[],
): Promise<BuiltLivepatch> {
  const directory = join(operator.home, 'faults', name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(dirname(directory), { recursive: true });
  const patches: string[] = [];
  for (const [index, { path, edit }] of edits.entries()) {
    const patch = await patchOf(operator, path, edit);
    // A patch given to `kmend build` is a fix with the name of its file.
    const named = join(dirname(patch), `${name}${index === 0 ? '' : `-${index + 1}`}.patch`);
    await rename(patch, named);
    patches.push(named);
  }
  const manifest = await operator.kmend<Livepatch>(
    'build',
    '--kernel',
    KERNEL,
    '--patch',
    ...patches,
    '--out',
    directory,
    '--accept-review',
  );
  if (manifest.file === undefined) throw new Error(`${name} was not built: ${JSON.stringify(manifest.reasons)}`);
  return { directory, manifest, module: manifest.module, file: join(directory, manifest.file.name) };
}
