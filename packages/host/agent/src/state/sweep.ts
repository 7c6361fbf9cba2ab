import { join } from 'node:path';
import type { Edges } from '../edges/edges.ts';

/**
 * What a write that a power cut or a kill ended leaves (writeFileAtomic of @kmend/base), and a module that was staged
 * for a load.
 */
const LEFT = /\.[0-9a-f]{12}\.tmp$|^load-[0-9a-f]{16}\.ko$/;

/** Removes what a previous run left half-written in a directory. Only the holder of its lock may call it. */
export async function sweep({ files }: Edges, directory: string): Promise<void> {
  for (const name of (await files.names(directory)) ?? [])
    if (LEFT.test(name)) await files.remove(join(directory, name));
}
