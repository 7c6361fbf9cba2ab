import { DatabaseSync } from 'node:sqlite';
import { errorText } from '@kmend/base';
import { asDiskError } from './disk.ts';
import { ServerError } from './error.ts';

/**
 * Holds a directory for this process until released, by an exclusive transaction on an otherwise empty SQLite file: the
 * kernel releases it when the process dies, however it dies, which a file with a process id in it cannot promise.
 * Throws `data-dir-busy`, `data-dir-unusable`, and what the disk says.
 */
export function lockDirectory(path: string, directory: string): () => void {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    throw refusal(cause, path, directory);
  }
  const held = database;
  return () => held.close();
}

/**
 * SQLITE_BUSY (sqlite.org/rescode.html): another process holds the lock. Everything else has nothing to do with another
 * server.
 */
const BUSY = 5;

function refusal(cause: unknown, path: string, directory: string): ServerError {
  if (((cause as { errcode?: number }).errcode ?? 0) % 256 === BUSY) {
    return new ServerError('data-dir-busy', `another kmend server uses ${directory}`, {
      cause,
      hint: 'stop it, or use another data directory',
    });
  }
  const fault = asDiskError(cause, directory);
  if (fault !== undefined) return fault;
  return new ServerError('data-dir-unusable', `${path} cannot be used: ${errorText(cause)}`, {
    cause,
    hint: `check the owner and content of ${directory}; the lock file is empty and may be removed if no server runs`,
  });
}
