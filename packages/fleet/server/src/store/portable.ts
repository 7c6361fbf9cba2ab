import { type Expression, type SqlBool, sql, type Transaction } from 'kysely';
import type { Tables } from './schema.ts';

/**
 * What databases do differently, written so that SQLite and PostgreSQL do the same
 * (docs/decisions/095-portable-sql.md). The rest of the store is Kysely's SQL, which both know.
 */

/** A count: SQLite gives a number, PostgreSQL's driver a text, since its counts have 64 bits. */
export type Count = number | string | bigint;

export function numberOf(count: Count | null): number {
  return Number(count ?? 0);
}

/** Whether a column contains a text literally: no wildcard to escape, and upper and lower case differ. */
export function contains(column: Expression<string>, text: string): Expression<SqlBool> {
  return sql<SqlBool>`replace(${column}, ${text}, '') <> ${column}`;
}

/** 1 where it is true, else 0, also where a part of it is null: PostgreSQL's truth values are no numbers. */
export function flag(condition: Expression<SqlBool>): Expression<number> {
  return sql<number>`case when ${condition} then 1 else 0 end`;
}

/**
 * Takes a row for this transaction: another one that decides by the same row (who gets a key's last seat; which report
 * of a host is newer) waits until this one ended, and then sees what it wrote. SQLite runs one at a time in any case;
 * PostgreSQL (read committed) does not.
 */
export async function hold(
  transaction: Transaction<Tables>,
  table: 'activation_keys' | 'hosts',
  id: string,
): Promise<void> {
  await transaction.updateTable(table).set({ id }).where('id', '=', id).execute();
}
