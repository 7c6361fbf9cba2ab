import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { FLEET_POLICY_PATH, type FleetPolicy, type KernelPolicy, type OnlineRole, POLICY_ROLE } from '@kmend/protocol';
import { Metadata, type MetaFile, type Root, Snapshot, TargetFile, Targets, Timestamp } from '@tufjs/models';
import { diskError, TrustError } from '../error.ts';
import { ONLINE_ROLES, type OnlineKeys } from '../keys/store.ts';
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
  /**
   * Keys that `keys` replace from here on. Snapshot and timestamp are signed with both: they hold before and after the
   * root that says so.
   */
  readonly replaced?: Partial<OnlineKeys>;
}

export interface Versions {
  readonly snapshot: number;
  readonly timestamp: number;
}

/**
 * Makes changes visible, all at once: writes files that no metadata refers to yet (policy files, versioned metadata,
 * the new snapshot) and last replaces timestamp.json, atomically. Whatever fails before that leaves the old state in
 * force, and the files written so far are overwritten by the next attempt.
 */
export async function commitOnline(input: CommitInput): Promise<Versions> {
  try {
    return await commit(input);
  } catch (cause) {
    throw diskError(cause, input.repository, 'the repository is unchanged');
  }
}

async function commit(input: CommitInput): Promise<Versions> {
  const { text, versions } = await prepareOnline(input);
  await writeFileAtomic(join(input.repository, TIMESTAMP_FILE), text);
  return versions;
}

/**
 * Writes all files that no metadata refers to yet, and returns the timestamp that will: to be put in the place of
 * timestamp.json.
 */
export async function prepareOnline({
  repository,
  keys,
  clock,
  current,
  metadata = {},
  policies = {},
  replaced = {},
}: CommitInput): Promise<{ readonly text: string; readonly versions: Versions }> {
  const write = (name: string, text: string): Promise<void> => writeFileAtomic(join(repository, name), text);
  const versionAfter = nextVersions(repository, replaced);
  const changed = new Map<string, MetaFile>();
  const addRole = async (role: string, text: string): Promise<void> => {
    const { version } = parseMetadata('targets', text, role, 'publication-invalid').signed;
    await write(metadataFile(role, version), text);
    changed.set(`${role}.json`, metaFileOf(text, version));
  };

  for (const [role, text] of Object.entries(metadata)) await addRole(role, text);
  const policy = await nextPolicy(current, policies, { keys, clock, versionAfter, write });
  if (policy !== undefined) await addRole(POLICY_ROLE, policy);

  const before = current?.snapshot.signed;
  let snapshotVersion = before?.version ?? 0;
  let snapshotMeta = current?.timestamp.signed.snapshotMeta;
  if (
    before === undefined ||
    snapshotMeta === undefined ||
    changed.size > 0 ||
    replaced.snapshot !== undefined ||
    needsSigning('snapshot', before.expires, clock)
  ) {
    snapshotVersion = await versionAfter('snapshot', snapshotVersion);
    const snapshot = new Snapshot({
      version: snapshotVersion,
      specVersion: SPEC_VERSION,
      expires: expiry('snapshot', clock),
      meta: { ...before?.meta, ...Object.fromEntries(changed) },
    });
    const text = signedText(new Metadata(snapshot), keys.snapshot, ...present(replaced.snapshot));
    await write(metadataFile('snapshot', snapshotVersion), text);
    snapshotMeta = metaFileOf(text, snapshotVersion);
  }
  const timestamp = new Timestamp({
    version: await versionAfter('timestamp', current?.timestamp.signed.version ?? 0),
    specVersion: SPEC_VERSION,
    expires: expiry('timestamp', clock),
    snapshotMeta,
  });
  return {
    text: signedText(new Metadata(timestamp), keys.timestamp, ...present(replaced.timestamp)),
    versions: { snapshot: snapshotVersion, timestamp: timestamp.version },
  };
}

function present<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}

/**
 * No repository comes here by itself: a version beyond was signed by a thief, so that hosts take nothing lower
 * (fast-forward).
 */
const MAX_USUAL_VERSION = 10 ** 12;

type VersionAfter = (role: OnlineRole, version: number) => Promise<number>;

/**
 * The version that follows. Of a role whose key is replaced hosts forget what the old key signed (specification
 * 1.0.34, section 5.3.11), so it may go down again: to the first one whose name is free.
 */
function nextVersions(repository: string, replaced: Partial<OnlineKeys>): VersionAfter {
  return async (role, version) => {
    if (version < MAX_USUAL_VERSION || replaced[role] === undefined) {
      if (Number.isSafeInteger(version + 1)) return version + 1;
      throw new TrustError('repository-damaged', `no version follows ${version} of ${role}`, {
        hint: 'its key was used to lock hosts out: run kmend keys rotate online (docs/trust.md)',
      });
    }
    const names = await readdir(join(repository, 'metadata'));
    const taken = names.flatMap((name) => {
      const [, digits, named] = /^(\d+)\.(.+)\.json$/.exec(name) ?? [];
      return named === role ? [Number(digits)] : [];
    });
    return Math.max(0, ...taken.filter((it) => it < MAX_USUAL_VERSION)) + 1;
  };
}

interface PolicyTools {
  readonly keys: OnlineKeys;
  readonly clock: Clock;
  readonly versionAfter: VersionAfter;
  readonly write: (name: string, text: string) => Promise<void>;
}

/** The policy role's next version, its target files written; `undefined` where it can stay as it is. */
async function nextPolicy(
  current: RepositoryState | undefined,
  policies: NonNullable<Changes['policies']>,
  { keys, clock, versionAfter, write }: PolicyTools,
): Promise<string | undefined> {
  const role = await current?.role(POLICY_ROLE);
  const before = role?.signed;
  const paths = Object.keys(policies);
  const ours = role?.signatures[keys.policy.id] !== undefined;
  if (before !== undefined && ours && paths.length === 0 && !needsSigning('policy', before.expires, clock))
    return undefined;
  if (before === undefined && policies[FLEET_POLICY_PATH] === undefined) {
    throw new TrustError('policy-invalid', 'a new repository needs a fleet policy');
  }
  const next = new Targets({
    version: await versionAfter('policy', before?.version ?? 0),
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

/** The online keys that a signed root and targets name; one each. */
export function namedOnlineKeys(
  root: Metadata<Root>,
  targets: Metadata<Targets>,
): Readonly<Record<OnlineRole, readonly string[]>> {
  const { roles } = root.signed;
  return {
    snapshot: roles['snapshot']?.keyIDs ?? [],
    timestamp: roles['timestamp']?.keyIDs ?? [],
    policy: targets.signed.delegations?.roles?.[POLICY_ROLE]?.keyIDs ?? [],
  };
}

/** The online keys must be the ones the signed root and targets name, else every client would turn away. */
export function checkOnlineKeys({ root, targets }: Pick<RepositoryState, 'root' | 'targets'>, keys: OnlineKeys): void {
  const expected = namedOnlineKeys(root, targets);
  for (const role of ONLINE_ROLES) {
    if (expected[role].includes(keys[role].id)) continue;
    throw new TrustError('key-wrong', `the ${role} key at hand is not the one this repository's root names`, {
      hint: 'restore the keys that belong to this repository, or replace them: kmend keys rotate (docs/trust.md)',
      details: { role, expected: expected[role], actual: keys[role].id },
    });
  }
}
