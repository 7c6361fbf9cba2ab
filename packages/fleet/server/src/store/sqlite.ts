import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { type Dialect, SqliteDialect } from 'kysely';
import { asDiskError } from '../disk.ts';
import { ServerError } from '../error.ts';

/** Statements kept prepared; the queries of this package are fewer. */
const CACHE_SIZE = 200;

type Statement = ReturnType<DatabaseSync['prepare']>;

/**
 * Kysely's SQLite dialect over `node:sqlite`: it expects the small part of better-sqlite3's shape that this gives.
 * Write-ahead log, and every commit is on disk when it returns (`synchronous = FULL`).
 */
export function openSqlite(path: string): Dialect {
  const database = openDatabase(path);
  const statements = new Map<string, Statement>();
  const prepare = (sql: string): Statement => {
    const known = statements.get(sql);
    if (known !== undefined) return known;
    const statement = database.prepare(sql);
    if (statements.size >= CACHE_SIZE) statements.clear();
    statements.set(sql, statement);
    return statement;
  };
  return new SqliteDialect({
    database: {
      close: () => database.close(),
      prepare(sql) {
        // A full disk ends a transaction by itself (sqlite.org/lang_transaction.html): to roll it back again would be the error that is told.
        if (sql === 'rollback' && !database.isTransaction) return NOTHING;
        const statement = prepare(sql);
        return {
          // A statement that yields no columns changes something.
          reader: statement.columns().length > 0,
          all: (parameters) => statement.all(...values(parameters)),
          run: (parameters) => statement.run(...values(parameters)),
          iterate: (parameters) => statement.iterate(...values(parameters)),
        };
      },
    },
  });
}

const NOTHING = {
  reader: false,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [][Symbol.iterator](),
};

function openDatabase(path: string): DatabaseSync {
  try {
    // SQLite's own files take the mode of this one: for its owner alone, whatever the folder's mode is.
    closeSync(openSync(path, 'a', 0o600));
    const database = new DatabaseSync(path, { timeout: 5000 });
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
    return database;
  } catch (cause) {
    const fault = asDiskError(cause, path);
    if (fault !== undefined) throw fault;
    throw new ServerError('store-damaged', `cannot open the store ${path}: ${(cause as Error).message}`, {
      cause,
      hint: 'restore it from a backup; without one, enrol every host again; hosts keep running meanwhile',
    });
  }
}

function values(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map((value) => {
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint')
      return value;
    if (typeof value === 'boolean') return value ? 1 : 0;
    throw new TypeError(`${typeof value} is no SQLite value`);
  });
}
