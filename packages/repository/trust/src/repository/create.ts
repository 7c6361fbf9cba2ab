import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { FLEET_POLICY_PATH, type FleetPolicy, POLICY_PATTERN, POLICY_ROLE, type PublicKey } from '@kmend/protocol';
import { Key, Metadata, MetadataKind, Root, type Targets } from '@tufjs/models';
import { diskError, TrustError } from '../error.ts';
import { pinAnchor, removeAnchor } from '../keys/anchor.ts';
import type { SigningKey } from '../keys/key.ts';
import {
  createOfflineKeys,
  createOnlineKeys,
  keyPath,
  type OfflineKeys,
  type OnlineKeys,
  refuseKeys,
  removeKeys,
} from '../keys/store.ts';
import { expiry, SPEC_VERSION, signedText } from '../metadata/signing.ts';
import { metadataFile } from './layout.ts';
import { commitOnline } from './online.ts';

export interface CreateOptions {
  /** The operator's own directory for root and release key; may be carried away afterwards. */
  readonly offlineKeys: string;
  /** The server's directory for snapshot, timestamp and policy key. */
  readonly onlineKeys: string;
  /** Where the static files go. */
  readonly repository: string;
  readonly clock: Clock;
}

/** Where everything lies now: to be told to the operator, plainly. */
export interface CreatedRepository {
  readonly repository: string;
  /** The trust anchor that hosts need: version 1 of the root role. */
  readonly root: string;
  readonly keys: readonly {
    readonly role: string;
    readonly path: string;
    /** `offline`: back it up and take it off any server; `online`: the server signs with it. */
    readonly kind: 'offline' | 'online';
    readonly purpose: string;
  }[];
}

const PURPOSES = {
  root: 'says which keys count; needed only to renew or replace keys: keep it offline, with a backup',
  release: 'signs every livepatch; needed to publish: keep it on the operator’s machine, never on the server',
  snapshot: 'signs which versions belong together',
  timestamp: 'signs how fresh the repository is, every few hours',
  policy: 'signs who gets which livepatch, and when',
} as const;

/** What a kernel may do before anyone set a policy. */
function initialFleetPolicy(clock: Clock): FleetPolicy {
  return {
    schema: 'kmend.fleet-policy/1',
    checkIntervalSeconds: 300,
    halted: false,
    issued: clock.now().toISOString(),
  };
}

/**
 * Makes five keys and a signed, empty repository. Refuses to overwrite (`keys-exist`, `repository-exists`) before it
 * writes anything.
 */
export async function createRepository(options: CreateOptions): Promise<CreatedRepository> {
  const { offlineKeys, onlineKeys, repository } = options;
  if (await stat(join(repository, 'metadata')).catch(() => undefined)) {
    throw new TrustError('repository-exists', `${repository} holds a repository already`, {
      hint: 'use it as it is, or choose another directory',
    });
  }
  await refuseKeys(offlineKeys, onlineKeys);
  try {
    await writeRepository(options);
  } catch (error) {
    // None of it existed before, and keys without their repository would only be in the way of the next attempt.
    await removeKeys(offlineKeys, onlineKeys);
    for (const directory of [offlineKeys, onlineKeys]) await removeAnchor(directory);
    await rm(join(repository, 'metadata'), { recursive: true, force: true });
    throw diskError(error, repository, 'nothing was made');
  }
  return {
    repository,
    root: join(repository, metadataFile('root', 1)),
    keys: [
      ...(['root', 'release'] as const).map((role) => describe(role, offlineKeys, 'offline')),
      ...(['snapshot', 'timestamp', 'policy'] as const).map((role) => describe(role, onlineKeys, 'online')),
    ],
  };
}

async function writeRepository({ offlineKeys, onlineKeys, repository, clock }: CreateOptions): Promise<void> {
  const offline = await createOfflineKeys(offlineKeys);
  const online = await createOnlineKeys(onlineKeys);

  const root = signedText(firstRoot(offline, online, clock), offline.root);
  const targets = signedText(firstTargets(offline, online, clock), offline.release);
  await mkdir(join(repository, 'targets'), { recursive: true });
  await writeFileAtomic(join(repository, metadataFile('root', 1)), root);
  for (const directory of [offlineKeys, onlineKeys]) await pinAnchor(directory, root);
  await commitOnline({
    repository,
    keys: online,
    clock,
    current: undefined,
    metadata: { targets },
    policies: { [FLEET_POLICY_PATH]: initialFleetPolicy(clock) },
  });
}

function describe<Kind extends 'offline' | 'online'>(role: keyof typeof PURPOSES, directory: string, kind: Kind) {
  return { role, path: keyPath(directory, role), kind, purpose: PURPOSES[role] };
}

export function tufKey(id: string, key: PublicKey): Key {
  return new Key({ keyID: id, keyType: key.keytype, scheme: key.scheme, keyVal: key.keyval });
}

function firstRoot(offline: OfflineKeys, online: OnlineKeys, clock: Clock): Metadata<Root> {
  const root = new Root({ version: 1, specVersion: SPEC_VERSION, expires: expiry('root', clock) });
  const add = (key: SigningKey, role: string): void => root.addKey(tufKey(key.id, key.public), role);
  add(offline.root, 'root');
  add(offline.release, 'targets');
  add(online.snapshot, 'snapshot');
  add(online.timestamp, 'timestamp');
  return new Metadata(root);
}

/** Top-level targets sign no file: they only delegate, at first to the policy role alone. */
function firstTargets(offline: OfflineKeys, online: OnlineKeys, clock: Clock): Metadata<Targets> {
  const keys = [offline.release, online.policy];
  return Metadata.fromJSON(MetadataKind.Targets, {
    signatures: [],
    signed: {
      _type: 'targets',
      spec_version: SPEC_VERSION,
      version: 1,
      expires: expiry('targets', clock),
      targets: {},
      delegations: {
        keys: Object.fromEntries(keys.map((key) => [key.id, key.public])),
        roles: [
          { name: POLICY_ROLE, keyids: [online.policy.id], threshold: 1, paths: [POLICY_PATTERN], terminating: true },
        ],
      },
    },
  });
}
