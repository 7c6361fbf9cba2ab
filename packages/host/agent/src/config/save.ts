import type { Edges } from '../edges/edges.ts';
import { diskError } from '../error.ts';

/**
 * Writes a JSON document into a directory, which is made; whole or not at all. Throws the disk's codes of `diskError`.
 */
export async function saveDocument(
  edges: Edges,
  { directory, mode }: { readonly directory: string; readonly mode: number },
  file: { readonly path: string; readonly value: unknown; readonly mode: number },
): Promise<void> {
  try {
    await edges.files.directory(directory, mode);
    await edges.files.writeAtomic(file.path, `${JSON.stringify(file.value)}\n`, file.mode);
  } catch (error) {
    throw diskError(error, directory);
  }
}
