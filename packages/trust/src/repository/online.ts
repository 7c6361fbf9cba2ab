import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { FLEET_POLICY_PATH, type FleetPolicy, type KernelPolicy, POLICY_ROLE } from '@kmend/protocol';
import { Metadata, type MetaFile, Snapshot, TargetFile, Targets, Timestamp } from '@tufjs/models';
import { diskError, TrustError } from '../error.ts';
import type { OnlineKeys } from '../keys/store.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { expiry, metaFileOf, needsSigning, SPEC_VERSION, signedText } from '../metadata/signing.ts';
import { metadataFile, TIMESTAMP_FILE, targetFile } from './layout.ts';
import type { RepositoryState } from './state.ts';

/** Signed role texts by role name, and policies by target path. */
export interface Changes {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly policies?: Readonly<Record<string, FleetPolicy | KernelPolicy>>;
}

export interface CommitInput extends Changes {
  readonly repository: string;
  readonly keys: OnlineKeys;
  readonly clock: Clock;
  /** `undefined` for a repository just being made. */
  readonly current: RepositoryState | undefined;
}

export interface Versions {
  readonly snapshot: number;
  readonly timestamp: number;
}

/**
 * Makes changes visible, all at once: writes what nobody refers to yet (policy files, versioned metadata, the new
 * snapshot) and last replaces timestamp.json, atomically. Whatever fails before that leaves the old state in force, and
 * the files written so far are overwritten by the next attempt.
 */
export async function commitOnline(input: CommitInput): Promise<Versions> {
  try {
    return await commit(input);
  } catch (cause) {
    throw diskError(cause, input.repository, 'the repository is unchanged');
  }
}

async function commit({ repository, keys, clock, current, metadata, policies }: CommitInput): Promise<Versions> {
  const write = (name: string, text: string): Promise<void> => writeFileAtomic(join(repository, name), text);
  const changed = new Map<string, MetaFile>();
  const addRole = async (role: string, text: string): Promise<void> => {
    const { version } = parseMetadata('targets', text, role, 'publication-invalid').signed;
    await write(metadataFile(role, version), text);
    changed.set(`${role}.json`, metaFileOf(text, version));
  };

  for (const [role, text] of Object.entries(metadata ?? {})) await addRole(role, text);
  const policy = await nextPolicy(current, policies ?? {}, keys, clock, write);
  if (policy !== undefined) await addRole(POLICY_ROLE, policy);

  const before = current?.snapshot.signed;
  let snapshotVersion = before?.version ?? 0;
  let snapshotMeta = current?.timestamp.signed.snapshotMeta;
  if (
    before === undefined ||
    snapshotMeta === undefined ||
    changed.size > 0 ||
    needsSigning('snapshot', before.expires, clock)
  ) {
    snapshotVersion++;
    const snapshot = new Snapshot({
      version: snapshotVersion,
      specVersion: SPEC_VERSION,
      expires: expiry('snapshot', clock),
      meta: { ...before?.meta, ...Object.fromEntries(changed) },
    });
    const text = signedText(new Metadata(snapshot), keys.snapshot);
    await write(metadataFile('snapshot', snapshotVersion), text);
    snapshotMeta = metaFileOf(text, snapshotVersion);
  }
  const timestamp = new Timestamp({
    version: (current?.timestamp.signed.version ?? 0) + 1,
    specVersion: SPEC_VERSION,
    expires: expiry('timestamp', clock),
    snapshotMeta,
  });
  await write(TIMESTAMP_FILE, signedText(new Metadata(timestamp), keys.timestamp));
  return { snapshot: snapshotVersion, timestamp: timestamp.version };
}

/** The policy role's next version, its target files written; `undefined` where it can stay as it is. */
async function nextPolicy(
  current: RepositoryState | undefined,
  policies: NonNullable<Changes['policies']>,
  keys: OnlineKeys,
  clock: Clock,
  write: (name: string, text: string) => Promise<void>,
): Promise<string | undefined> {
  const before = (await current?.role(POLICY_ROLE))?.signed;
  const paths = Object.keys(policies);
  if (before !== undefined && paths.length === 0 && !needsSigning('policy', before.expires, clock)) return undefined;
  if (before === undefined && policies[FLEET_POLICY_PATH] === undefined) {
    throw new TrustError('policy-invalid', 'a new repository needs a fleet policy');
  }
  const next = new Targets({
    version: (before?.version ?? 0) + 1,
    specVersion: SPEC_VERSION,
    expires: expiry('policy', clock),
    targets: { ...before?.targets },
  });
  for (const path of paths) {
    const text = JSON.stringify(policies[path]);
    const hash = sha256(text);
    await write(targetFile(path, hash), text);
    next.addTarget(new TargetFile({ path, length: Buffer.byteLength(text), hashes: { sha256: hash } }));
  }
  return signedText(new Metadata(next), keys.policy);
}

/** The online keys must be the ones the signed root and targets name, else every client would turn away. */
export function checkOnlineKeys(state: RepositoryState, keys: OnlineKeys): void {
  const { roles } = state.root.signed;
  const expected = {
    snapshot: roles['snapshot']?.keyIDs,
    timestamp: roles['timestamp']?.keyIDs,
    policy: state.targets.signed.delegations?.roles?.[POLICY_ROLE]?.keyIDs,
  };
  for (const role of ['snapshot', 'timestamp', 'policy'] as const) {
    if (expected[role]?.includes(keys[role].id)) continue;
    throw new TrustError('key-wrong', `the ${role} key at hand is not the one this repository's root names`, {
      hint: 'restore the keys that belong to this repository, or replace them with the root key (docs/trust.md)',
      details: { role, expected: expected[role], actual: keys[role].id },
    });
  }
}
