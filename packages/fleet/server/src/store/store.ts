import { stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { asDiskError } from '../disk.ts';
import { ServerError } from '../error.ts';
import { migrationProvider } from './migrations.ts';
import type { Tables } from './schema.ts';
import { openSqlite } from './sqlite.ts';

export type Database = Kysely<Tables>;

/** Opens the store, making or migrating its tables. Throws `store-damaged`. */
export async function openStore(path: string): Promise<Database> {
  const db = new Kysely<Tables>({ dialect: openSqlite(path) });
  const { error } = await new Migrator({ db, provider: migrationProvider }).migrateToLatest();
  if (error === undefined) return db;
  await db.destroy();
  const fault = asDiskError(error, path);
  if (fault !== undefined) throw fault;
  throw new ServerError('store-damaged', `cannot migrate the store ${path}: ${(error as Error).message}`, {
    cause: error,
    hint: 'it is from a newer version of kmend, or damaged: upgrade, or restore a backup',
  });
}

/** Whether there is a store with anything in it: a file that SQLite has made tables in. */
export async function hasStore(path: string): Promise<boolean> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size === 0) return false;
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    return database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'hosts'").get() !== undefined;
  } catch {
    // Damaged: opening it says so.
    return true;
  } finally {
    database.close();
  }
}
