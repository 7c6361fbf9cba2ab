import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
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
  throw new ServerError(
    'store-damaged',
    `the store ${path} cannot be brought up to date: ${(error as Error).message}`,
    {
      cause: error,
      hint: 'it may come from a newer version of kmend, or be damaged: upgrade, or restore a backup',
    },
  );
}
