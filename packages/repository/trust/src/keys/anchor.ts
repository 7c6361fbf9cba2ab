import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@kmend/base/node';
import type { Metadata, Root } from '@tufjs/models';
import { parseAnchor, type TrustedRoot } from '../client/chain.ts';
import { TrustError } from '../error.ts';

/**
 * Where a signer keeps the root that it verifies from: pinned beside its keys when they were made, and never taken
 * from a server.
 */
export function anchorPath(directory: string): string {
  return join(directory, 'root.json');
}

/** Pins the first root beside keys; never in place of one. */
export async function pinAnchor(directory: string, root: string | Uint8Array): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFileAtomic(anchorPath(directory), root, 0o600);
}

export async function removeAnchor(directory: string): Promise<void> {
  await rm(anchorPath(directory), { force: true });
}

/** The pinned root; `undefined` where there is none. Throws `root-unusable`. */
export async function findAnchor(directory: string): Promise<TrustedRoot | undefined> {
  const path = anchorPath(directory);
  try {
    return parseAnchor(await readFile(path), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The pinned root. Throws `anchor-missing`, `root-unusable`. */
export async function loadAnchor(directory: string): Promise<TrustedRoot> {
  const anchor = await findAnchor(directory);
  if (anchor !== undefined) return anchor;
  throw new TrustError('anchor-missing', `${anchorPath(directory)} is missing: signing starts from this pinned root`, {
    hint: 'copy the 1.root.json there that your hosts were enrolled with: from a host or a backup, not from the server',
  });
}

/** Newest roots that a chain may have beyond its anchor. */
const MAX_ROOTS = 256;

/**
 * Follows a chain of roots from an anchor (specification 1.0.34, section 5.3): each is signed by the one before it and
 * by itself, versions without a gap. `read` gives a version, or `undefined` at the end; `refuse` makes the error of a
 * chain that breaks a rule.
 */
export async function followChain(
  anchor: Metadata<Root>,
  read: (version: number) => Promise<Metadata<Root> | undefined>,
  refuse: (message: string, cause?: unknown) => TrustError,
): Promise<Metadata<Root>> {
  let root = anchor;
  for (let steps = 0; ; steps++) {
    const version = root.signed.version + 1;
    const next = await read(version);
    if (next === undefined) return root;
    if (steps === MAX_ROOTS) throw refuse(`there are more than ${MAX_ROOTS} roots after ${anchor.signed.version}`);
    if (next.signed.version !== version) throw refuse(`root ${version} says that it is ${next.signed.version}`);
    for (const signer of [root, next]) {
      try {
        signer.verifyDelegate('root', next);
      } catch (cause) {
        const whose = signer === root ? `root ${version - 1}` : 'itself';
        throw refuse(`root ${version} is not signed as ${whose} demands: ${(cause as Error).message}`, cause);
      }
    }
    root = next;
  }
}
