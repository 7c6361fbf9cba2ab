import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { BuildId, Sha256 } from '@kmend/protocol';
import { canonicalize } from '@tufjs/canonical-json';
import type { Metadata, Root, Targets } from '@tufjs/models';
import * as z from 'zod';
import { TrustError } from '../error.ts';

const RoleSeen = z.object({ version: z.int().min(1), sha256: Sha256 });

/**
 * What an operator's machine saw and signed last, beside its keys: a server cannot show it an older state, or another
 * one of the same version.
 */
const OperatorRecord = z.object({
  schema: z.literal('kmend.operator-record/1'),
  /** By role name: `root`, `targets`, kernel roles. */
  roles: z.record(z.string().max(100), RoleSeen),
  /** SHA-256 of the modules that were signed here, by build id and serial. */
  published: z.record(BuildId, z.record(z.string().regex(/^\d{1,15}$/), Sha256)),
});
export type OperatorRecord = z.infer<typeof OperatorRecord>;

export function recordPath(directory: string): string {
  return join(directory, 'record.json');
}

/** The record; an empty one where nothing was seen yet. Throws `record-damaged`. */
export async function loadRecord(directory: string): Promise<OperatorRecord> {
  const path = recordPath(directory);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { schema: 'kmend.operator-record/1', roles: {}, published: {} };
  }
  const parsed = OperatorRecord.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new TrustError('record-damaged', `${path} is damaged: what this machine signed last is unknown`, {
    cause: parsed.error,
    hint: 'restore it from a backup; without one, move it away; kmend then accepts what the server shows',
  });
}

export function saveRecord(directory: string, record: OperatorRecord): Promise<void> {
  return writeFileAtomic(recordPath(directory), `${JSON.stringify(record, undefined, 2)}\n`, 0o600);
}

/** Identifies the content of a role, whatever key signed it. */
function digestOf(metadata: Metadata<Root> | Metadata<Targets>): string {
  return sha256(canonicalize(metadata.signed.toJSON()));
}

/**
 * Notes a verified role. Throws `repository-rollback` where the record knows a newer one, or another of the same
 * version.
 */
export function noteRole(record: OperatorRecord, name: string, metadata: Metadata<Root> | Metadata<Targets>): void {
  const { version } = metadata.signed;
  const seen = { version, sha256: digestOf(metadata) };
  const known = record.roles[name];
  if (known !== undefined && (known.version > version || (known.version === version && known.sha256 !== seen.sha256))) {
    const what = known.version > version ? `an older ${name}, version ${version}` : `another ${name} ${version}`;
    throw new TrustError('repository-rollback', `the server shows ${what}; this machine has seen ${known.version}`, {
      hint: 'restore the server’s newest backup; without one, move record.json away from the keys',
      details: { role: name, shown: seen, known },
    });
  }
  record.roles[name] = seen;
}

/** Notes the module of a livepatch that was signed here. */
export function notePublished(
  record: OperatorRecord,
  { buildId, serial, module }: { readonly buildId: string; readonly serial: number; readonly module: string },
): void {
  record.published[buildId] = { ...record.published[buildId], [String(serial)]: module };
}
