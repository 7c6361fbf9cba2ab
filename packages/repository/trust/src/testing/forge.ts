import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { Metadata, MetadataKind } from '@tufjs/models';
import { parseAnchor } from '../client/chain.ts';
import { directoryFetch } from '../client/directory-fetch.ts';
import { generateKey, type SigningKey } from '../keys/key.ts';
import { ONLINE_ROLES, type OnlineKeys } from '../keys/store.ts';
import { metaFileOf, signedText } from '../metadata/signing.ts';
import { openOperator } from '../operator/operator.ts';
import { prepareRotation } from '../operator/rotate.ts';
import { tufKey } from '../repository/create.ts';
import { metadataFile, TIMESTAMP_FILE, targetFile } from '../repository/layout.ts';
import { openRepository } from '../repository/repository.ts';
import { directoryReader, loadState, type RepositoryState } from '../repository/state.ts';

/** Metadata as JSON, to be changed and signed: the parts that attacks are about. */
export interface SignedJson {
  readonly signatures: unknown[];
  readonly signed: {
    readonly _type: string;
    version: number;
    expires: string;
    meta: Record<string, { version: number }>;
    targets: Record<string, unknown>;
    keys: Record<string, unknown>;
    roles: Record<string, { keyids: string[] }>;
    delegations: { keys: Record<string, unknown>; roles: { name: string; keyids: string[] }[] };
  };
}

/** What a repository says, and where files that its owner never made are put: over its own files, or elsewhere. */
export interface Forge {
  readonly state: RepositoryState;
  readonly directory: string;
}

export async function openForge(repository: string, directory: string = repository): Promise<Forge> {
  const read = directoryReader(repository);
  const first = metadataFile('root', 1);
  const anchor = parseAnchor((await read(first)) ?? Buffer.alloc(0), first);
  return { state: await loadState(read, anchor, 'repository-damaged'), directory };
}

export async function readSigned(path: string): Promise<SignedJson> {
  return JSON.parse(await readFile(path, 'utf8'));
}

/** A deep copy, as the models' own JSON shares parts with them. */
function jsonOf(metadata: { toJSON(): unknown }): SignedJson {
  return JSON.parse(JSON.stringify(metadata.toJSON()));
}

/** The models want JSON values of any kind; what is here came out of them, and was changed on purpose. */
type ModelJson = Parameters<typeof Metadata.fromJSON>[1];
export const asModel = (json: SignedJson): ModelJson => json as unknown as ModelJson;

async function put({ directory }: Forge, name: string, text: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(directory, name)), { recursive: true });
  await writeFile(join(directory, name), text);
}

/** What a snapshot says of roles, by file name. */
export type RoleVersions = Record<string, { version: number }>;

export interface OnlineChange {
  /** Entries of the snapshot. */
  readonly meta?: RoleVersions;
  readonly snapshotVersion?: number;
  readonly timestampVersion?: number;
  /** When the timestamp expires, ISO 8601. */
  readonly expires?: string;
}

/** What someone with the online keys can do: sign a snapshot and a timestamp of their liking. */
export async function signOnline(
  forge: Forge,
  keys: Pick<OnlineKeys, 'snapshot' | 'timestamp'>,
  change: OnlineChange = {},
): Promise<void> {
  const { state } = forge;
  const snapshotVersion = change.snapshotVersion ?? state.snapshot.signed.version + 1;
  const json = jsonOf(state.snapshot);
  json.signed.version = snapshotVersion;
  Object.assign(json.signed.meta, change.meta);
  const snapshot = signedText(Metadata.fromJSON(MetadataKind.Snapshot, asModel(json)), keys.snapshot);
  await put(forge, metadataFile('snapshot', snapshotVersion), snapshot);
  await signTimestamp(forge, keys.timestamp, (signed) => {
    signed.version = change.timestampVersion ?? signed.version;
    signed.expires = change.expires ?? signed.expires;
    signed.meta['snapshot.json'] = metaOf(snapshot, snapshotVersion);
  });
}

/** A timestamp, its version one above the last unless `change` says otherwise. */
export async function signTimestamp(
  forge: Forge,
  key: SigningKey,
  change: (signed: SignedJson['signed']) => void,
): Promise<void> {
  const json = jsonOf(forge.state.timestamp);
  json.signed.version++;
  change(json.signed);
  await put(forge, TIMESTAMP_FILE, signedText(Metadata.fromJSON(MetadataKind.Timestamp, asModel(json)), key));
}

function metaOf(text: string, version: number): { version: number } {
  // The model's JSON is open: it holds the version that was just given to it.
  return metaFileOf(text, version).toJSON() as unknown as { version: number };
}

/**
 * Signs a targets role, a version above what it says now and otherwise as `change` leaves it; what a snapshot has to
 * say of it.
 */
export async function signRole(
  forge: Forge,
  role: string,
  key: SigningKey,
  change: (signed: SignedJson['signed']) => void,
): Promise<RoleVersions> {
  const now = role === 'targets' ? forge.state.targets : await forge.state.role(role);
  if (now === undefined) throw new TypeError(`the repository has no role ${role}`);
  const json = jsonOf(now);
  json.signed.version++;
  change(json.signed);
  const text = signedText(Metadata.fromJSON(MetadataKind.Targets, asModel(json)), key);
  await put(forge, metadataFile(role, json.signed.version), text);
  return { [`${role}.json`]: metaOf(text, json.signed.version) };
}

/** Puts a target's file there and tells what a role has to say of it. */
export async function putTarget(
  forge: Forge,
  path: string,
  bytes: Uint8Array,
  custom?: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const hash = sha256(bytes);
  await put(forge, targetFile(path, hash), bytes);
  return { length: bytes.length, hashes: { sha256: hash }, ...(custom === undefined ? {} : { custom }) };
}

/** The next version of root, naming other snapshot and timestamp keys. */
export async function signRoot(
  forge: Forge,
  keys: Pick<OnlineKeys, 'snapshot' | 'timestamp'>,
  signer: SigningKey,
): Promise<void> {
  const json = jsonOf(forge.state.root);
  json.signed.version++;
  for (const role of ['snapshot', 'timestamp'] as const) {
    const old = json.signed.roles[role]?.keyids ?? [];
    for (const id of old) delete json.signed.keys[id];
    Object.assign(json.signed.roles, { [role]: { ...json.signed.roles[role], keyids: [keys[role].id] } });
    json.signed.keys[keys[role].id] = tufKey(keys[role].id, keys[role].public).toJSON();
  }
  const text = signedText(Metadata.fromJSON(MetadataKind.Root, asModel(json)), signer);
  await put(forge, metadataFile('root', json.signed.version), text);
}

export function newOnlineKeys(): OnlineKeys {
  const [snapshot, timestamp, policy] = [generateKey('snapshot'), generateKey('timestamp'), generateKey('policy')];
  return { snapshot: snapshot.key, timestamp: timestamp.key, policy: policy.key };
}

/**
 * The operator's answer to stolen online keys (`kmend keys rotate online`), on the folders themselves. A server that
 * runs takes it up with its next change.
 */
export async function rotateOnlineKeys(options: {
  readonly repository: string;
  readonly offlineKeys: string;
  readonly onlineKeys: string;
  readonly clock: Clock;
}): Promise<void> {
  const { repository, offlineKeys: directory, onlineKeys: keyDirectory, clock } = options;
  const open = await openRepository({ repository, keyDirectory, clock });
  const { signal } = new AbortController();
  const fetch = directoryFetch(repository);
  const operator = await openOperator({ directory, url: 'directory:///', fetch, signal, clock });
  const online = await open.prepareKeys(ONLINE_ROLES);
  await open.acceptRotation(await (await prepareRotation(operator, { fresh: { online } })).sign());
}
