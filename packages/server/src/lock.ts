import { DatabaseSync } from 'node:sqlite';
import { ServerError } from './error.ts';

/**
 * Holds a directory for this process until released, by an exclusive transaction on an otherwise empty SQLite file: the
 * kernel lets go of it when the process dies, however it dies, which a file with a process id in it cannot promise.
 * Throws `data-dir-busy`.
 */
export function lockDirectory(path: string, directory: string): () => void {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new ServerError('data-dir-busy', `another kmend server uses ${directory}`, {
      cause,
      hint: 'stop it, or give this one another data directory',
    });
  }
  return () => database.close();
}
