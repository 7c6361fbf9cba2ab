import { copyFile, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { exists, syncDirectory } from '@kmend/base/node';
import type { OnlineRole } from '@kmend/protocol';
import { TrustError } from '../error.ts';
import type { SigningKey } from './key.ts';
import { keyPath, loadKey, ONLINE_ROLES, type OnlineKeys, writeNewKey } from './store.ts';

// A key that is to replace another lies in `next/` beside it until a published root names it. Only then does it take
// the other's place. Whatever is interrupted, the key that counts is there: as the current one, or as the next.

function nextDirectory(directory: string): string {
  return join(directory, 'next');
}

/** The key in waiting, where there is one. */
export async function loadNextKey(directory: string, role: string): Promise<SigningKey | undefined> {
  const next = nextDirectory(directory);
  return (await exists(keyPath(next, role))) ? loadKey(next, role) : undefined;
}

/**
 * A key to replace another. One that waits already is taken again: what it was made for may have been published
 * although no answer came, and then nothing may be put in its place.
 */
export async function prepareNextKey(directory: string, role: string): Promise<SigningKey> {
  return (await loadNextKey(directory, role)) ?? (await writeNewKey(nextDirectory(directory), role));
}

/** A new key to replace another, in place of one that waits: for who knows that nothing published names that one. */
export function writeNextKey(directory: string, role: string): Promise<SigningKey> {
  return writeNewKey(nextDirectory(directory), role);
}

/**
 * The key in waiting takes the place of the current one, atomically; `keepOld`: which stays as
 * `retired/<role>-<id>.key`. Repeatable.
 */
export async function promoteNextKey(directory: string, role: string, keepOld: boolean): Promise<void> {
  const from = keyPath(nextDirectory(directory), role);
  if (!(await exists(from))) return;
  const to = keyPath(directory, role);
  if (keepOld && (await exists(to))) {
    const retired = join(directory, 'retired');
    await mkdir(retired, { recursive: true, mode: 0o700 });
    const { id } = await loadKey(directory, role);
    await copyFile(to, keyPath(retired, `${role}-${id.slice(0, 12)}`));
    await syncDirectory(retired);
  }
  await rename(from, to);
  await syncDirectory(directory);
  // Keys of other roles may wait in it.
  await rmdir(nextDirectory(directory)).catch(() => undefined);
}

/** Forgets keys in waiting that nothing can name any more. */
export async function dropNextKeys(directory: string): Promise<void> {
  await rm(nextDirectory(directory), { recursive: true, force: true });
}

/**
 * The key of a role that signed metadata names, current or (after an interrupted rotation) next. Throws `key-wrong`
 * and what `loadKey` throws.
 */
export async function loadNamedKey(
  directory: string,
  role: string,
  named: readonly string[] | undefined,
): Promise<SigningKey> {
  const next = await loadNextKey(directory, role);
  if (next !== undefined && named?.includes(next.id) === true) return next;
  const current = await loadKey(directory, role);
  if (named?.includes(current.id) === true) return current;
  throw new TrustError('key-wrong', `${keyPath(directory, role)} is not the ${role} key that this repository names`, {
    hint: 'use the key that was made with this repository; "kmend keys status" shows the id of the valid one',
    details: { role, actual: current.id, named },
  });
}

/** The same; `undefined` where there is no such file at all: it was lost, or lies elsewhere. */
export async function findNamedKey(
  directory: string,
  role: string,
  named: readonly string[] | undefined,
): Promise<SigningKey | undefined> {
  try {
    return await loadNamedKey(directory, role, named);
  } catch (error) {
    if (errorCode(error) === 'keys-missing') return undefined;
    throw error;
  }
}

/** The online keys in waiting. */
export async function loadNextOnlineKeys(directory: string): Promise<Partial<OnlineKeys>> {
  const found: Partial<Record<OnlineRole, SigningKey>> = {};
  for (const role of ONLINE_ROLES) {
    const key = await loadNextKey(directory, role);
    if (key !== undefined) found[role] = key;
  }
  return found;
}
