import type { Kysely } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';

/** In order; a released migration never changes. Tests run them on an empty store and on one of the first version. */
const migrations: Readonly<Record<string, Migration>> = {
  '001-first': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('activation_keys')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('hash', 'text', (column) => column.notNull().unique())
        .addColumn('channel', 'text', (column) => column.notNull())
        .addColumn('seats', 'integer')
        .addColumn('expires', 'text')
        .addColumn('revoked', 'integer', (column) => column.notNull())
        .addColumn('created', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('hosts')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('key_id', 'text', (column) => column.notNull().references('activation_keys.id'))
        .addColumn('token_hash', 'text', (column) => column.notNull().unique())
        .addColumn('hostname', 'text', (column) => column.notNull())
        .addColumn('release', 'text', (column) => column.notNull())
        .addColumn('build_id', 'text', (column) => column.notNull())
        .addColumn('channel', 'text', (column) => column.notNull())
        .addColumn('enrolled', 'text', (column) => column.notNull())
        .addColumn('last_report', 'text')
        .addColumn('sequence', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text')
        .addColumn('effective_serial', 'integer')
        .addColumn('facts', 'text', (column) => column.notNull())
        .addColumn('status', 'text', (column) => column.notNull())
        .addColumn('livepatches', 'text', (column) => column.notNull())
        .addColumn('contact', 'text', (column) => column.notNull())
        .addColumn('coverage', 'text', (column) => column.notNull())
        .addColumn('loaded', 'text', (column) => column.notNull())
        .addColumn('transition', 'text', (column) => column.notNull())
        .addColumn('verified', 'text', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('hosts_by_name').on('hosts').columns(['hostname', 'id']).execute();
      await db.schema.createIndex('hosts_by_key').on('hosts').column('key_id').execute();
      await db.schema
        .createIndex('hosts_by_status')
        .on('hosts')
        .columns(['contact', 'coverage', 'loaded', 'transition', 'verified'])
        .execute();
      await db.schema
        .createTable('host_events')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('host_id', 'text', (column) => column.notNull().references('hosts.id').onDelete('cascade'))
        .addColumn('at', 'text', (column) => column.notNull())
        .addColumn('code', 'text', (column) => column.notNull())
        .addColumn('message', 'text', (column) => column.notNull())
        .addColumn('serial', 'integer')
        .execute();
      await db.schema.createIndex('host_events_by_host').on('host_events').columns(['host_id', 'id']).execute();
      await db.schema
        .createTable('livepatches')
        .addColumn('build_id', 'text', (column) => column.notNull())
        .addColumn('serial', 'integer', (column) => column.notNull())
        .addColumn('release', 'text', (column) => column.notNull())
        .addColumn('published', 'text', (column) => column.notNull())
        .addColumn('target', 'text', (column) => column.notNull())
        .addColumn('fixes', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('livepatches_key', ['build_id', 'serial'])
        .execute();
    },
  },
  '002-trouble': {
    async up(db: Kysely<unknown>) {
      await db.schema.alterTable('hosts').addColumn('trouble', 'text').execute();
    },
  },
  '003-package-hosts': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('package_hosts')
        .addColumn('key_id', 'text', (column) => column.notNull().references('activation_keys.id'))
        .addColumn('label', 'text', (column) => column.notNull())
        .addColumn('first_seen', 'text', (column) => column.notNull())
        .addColumn('last_seen', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('package_hosts_key', ['key_id', 'label'])
        .execute();
    },
  },
  '004-stack': {
    async up(db: Kysely<unknown>) {
      await db.schema.alterTable('hosts').addColumn('stack', 'text').execute();
    },
  },
  '005-identity': {
    async up(db: Kysely<unknown>) {
      for (const column of ['machine', 'boot_id', 'report_at', 'refused', 'replaced_by', 'reason', 'next_kernel']) {
        await db.schema.alterTable('hosts').addColumn(column, 'text').execute();
      }
      await db.schema.createIndex('hosts_by_machine').on('hosts').column('machine').execute();
      await db.schema
        .createTable('host_boots')
        .addColumn('host_id', 'text', (column) => column.notNull().references('hosts.id').onDelete('cascade'))
        .addColumn('boot_id', 'text', (column) => column.notNull())
        .addColumn('machine', 'text')
        .addColumn('hostname', 'text', (column) => column.notNull())
        .addColumn('release', 'text', (column) => column.notNull())
        .addColumn('serial', 'integer')
        .addColumn('last_seen', 'text', (column) => column.notNull())
        .addColumn('returned', 'integer', (column) => column.notNull())
        .addPrimaryKeyConstraint('host_boots_key', ['host_id', 'boot_id'])
        .execute();
      await db.schema
        .createTable('removed_hosts')
        .addColumn('token_hash', 'text', (column) => column.primaryKey())
        .addColumn('host_id', 'text', (column) => column.notNull())
        .addColumn('hostname', 'text', (column) => column.notNull())
        .addColumn('removed', 'text', (column) => column.notNull())
        .execute();
    },
  },
};

export const migrationProvider: MigrationProvider = { getMigrations: async () => ({ ...migrations }) };
