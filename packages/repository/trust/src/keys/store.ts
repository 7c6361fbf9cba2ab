import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@kmend/base/node';
import { OnlineRole } from '@kmend/protocol';
import { TrustError } from '../error.ts';
import { anchorPath } from './anchor.ts';
import { generateKey, parseKey, type SigningKey } from './key.ts';

/** Keys that never lie on the server. */
export interface OfflineKeys {
  readonly root: SigningKey;
  readonly release: SigningKey;
}

/** Keys the server signs with on its own. */
export type OnlineKeys = Readonly<Record<OnlineRole, SigningKey>>;

export const OFFLINE_ROLES = ['root', 'release'] as const satisfies readonly (keyof OfflineKeys)[];
export type OfflineRole = (typeof OFFLINE_ROLES)[number];
export const ONLINE_ROLES = OnlineRole.options;

export function keyPath(directory: string, role: string): string {
  return join(directory, `${role}.key`);
}

/** Makes both root and release key; refuses where either exists. Directory 0700, files 0600. */
export async function createOfflineKeys(directory: string): Promise<OfflineKeys> {
  const [root, release] = await createKeys(directory, OFFLINE_ROLES);
  if (root === undefined || release === undefined) throw new TypeError('two keys were asked for');
  return { root, release };
}

/** Makes the server's three keys; refuses where any exists. Directory 0700, files 0600. */
export async function createOnlineKeys(directory: string): Promise<OnlineKeys> {
  const [snapshot, timestamp, policy] = await createKeys(directory, ONLINE_ROLES);
  if (snapshot === undefined || timestamp === undefined || policy === undefined) {
    throw new TypeError('three keys were asked for');
  }
  return { snapshot, timestamp, policy };
}

async function createKeys(directory: string, roles: readonly string[]): Promise<SigningKey[]> {
  await refuseExistingKeys(directory, roles);
  const made: SigningKey[] = [];
  for (const role of roles) made.push(await writeNewKey(directory, role));
  return made;
}

/** Makes a key in a directory for its owner only, in place of one of that name. */
export async function writeNewKey(directory: string, role: string): Promise<SigningKey> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const { key, file } = generateKey(role);
  await writeFileAtomic(keyPath(directory, role), file, 0o600);
  return key;
}

async function refuseExistingKeys(directory: string, roles: readonly string[]): Promise<void> {
  for (const path of [...roles.map((role) => keyPath(directory, role)), anchorPath(directory)]) {
    if (await stat(path).catch(() => undefined)) {
      throw new TrustError('keys-exist', `${path} exists already; keys are never overwritten`, {
        hint: 'use another directory, or move the old keys away if their repository is no longer in use',
      });
    }
  }
}

/** Refuses with `keys-exist` where any offline or online key file exists. */
export async function refuseKeys(offlineDirectory: string, onlineDirectory: string): Promise<void> {
  await refuseExistingKeys(offlineDirectory, OFFLINE_ROLES);
  await refuseExistingKeys(onlineDirectory, ONLINE_ROLES);
}

/** Undoes a creation that failed: only after `refuseKeys` said that none was there before. */
export async function removeKeys(offlineDirectory: string, onlineDirectory: string): Promise<void> {
  for (const role of OFFLINE_ROLES) await rm(keyPath(offlineDirectory, role), { force: true });
  for (const role of ONLINE_ROLES) await rm(keyPath(onlineDirectory, role), { force: true });
}

export async function loadKey(directory: string, role: string): Promise<SigningKey> {
  const path = keyPath(directory, role);
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new TrustError('key-damaged', `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
        hint: `chmod 600 ${path}, and check whether it was copied`,
      });
    }
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof TrustError) throw cause;
    throw new TrustError('keys-missing', `no ${role} key at ${path}: ${(cause as Error).message}`, {
      cause,
      hint: 'bring the key (docs/trust.md, "Where the keys are"), or make a new repository with "kmend repo init"',
    });
  }
  return parseKey(text, role, path);
}

/** The release key, for publishing: the root key may stay locked away. */
export async function loadReleaseKey(directory: string): Promise<SigningKey> {
  return loadKey(directory, 'release');
}

/** The root key, needed only to renew or to rotate keys. */
export async function loadRootKey(directory: string): Promise<SigningKey> {
  return loadKey(directory, 'root');
}

export async function loadOnlineKeys(directory: string): Promise<OnlineKeys> {
  const [snapshot, timestamp, policy] = await Promise.all([
    loadKey(directory, 'snapshot'),
    loadKey(directory, 'timestamp'),
    loadKey(directory, 'policy'),
  ]);
  return { snapshot, timestamp, policy };
}
