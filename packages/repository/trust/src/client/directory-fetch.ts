import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileResponse } from './file-body.ts';
import { requestPath } from './request-path.ts';
import type { Fetch } from './transfer.ts';

/** Answers a `RepositoryClient`'s requests from a repository's own directory, in place of a web server. */
export function directoryFetch(directory: string): Fetch {
  return async (url, { signal }) => {
    signal.throwIfAborted();
    try {
      const file = await open(join(directory, ...requestPath(url)), constants.O_RDONLY | constants.O_NONBLOCK);
      if ((await file.stat()).isFile()) return fileResponse(file);
      await file.close();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return new Response(null, { status: 404 });
  };
}
