import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';

/** A tar archive on its way. */
export interface TarStream {
  readonly stream: ReadableStream<Uint8Array>;
  /** Bytes of the files in it, for progress. */
  readonly size: number;
}

/**
 * A folder's files as a tar stream that is made while it is read. Where the folder is a link, it is followed once, at
 * the start.
 */
export async function packFolder(folder: string): Promise<TarStream> {
  const root = await realpath(folder);
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  const files: { path: string; name: string; size: number }[] = [];
  for (const path of paths.sort()) {
    files.push({ path, name: path.slice(root.length + 1), size: (await stat(path)).size });
  }
  const archive = pack();
  const written = async (): Promise<void> => {
    for (const { path, name, size } of files) {
      // A file of another size by now is refused by the entry.
      await pipeline(createReadStream(path), archive.entry({ name, size, mode: 0o644, mtime: new Date(0) }));
    }
    archive.finalize();
  };
  written().catch((error: Error) => archive.destroy(error));
  const size = files.reduce((sum, file) => sum + file.size, 0);
  return { stream: Readable.toWeb(Readable.from(archive)) as ReadableStream<Uint8Array>, size };
}
