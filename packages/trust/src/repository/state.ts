import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metadata, MetaFile, Root, Snapshot, Targets, Timestamp } from '@tufjs/models';
import { TrustError, type TrustErrorCode } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { metadataFile, TIMESTAMP_FILE } from './layout.ts';

/** Reads a file of a repository by its name in it; `undefined` where there is none. */
export type RepositoryReader = (name: string) => Promise<Buffer | undefined>;

/** What a repository says at one moment, every signature checked along root, timestamp, snapshot, targets. */
export interface RepositoryState {
  readonly root: Metadata<Root>;
  readonly timestamp: Metadata<Timestamp>;
  /** timestamp.json, byte for byte. */
  readonly timestampText: string;
  readonly snapshot: Metadata<Snapshot>;
  readonly targets: Metadata<Targets>;
  /** A delegated role; `undefined` where the snapshot names none of that name. */
  role(name: string): Promise<Metadata<Targets> | undefined>;
}

export function directoryReader(repository: string): RepositoryReader {
  return async (name) => {
    try {
      return await readFile(join(repository, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  };
}

/**
 * Loads and verifies a repository from its own side: no cache, no expiry (an expired repository can still be renewed).
 * `code` is what anything wrong counts as: `repository-damaged` on the server, which reads its own files.
 */
export async function loadState(read: RepositoryReader, code: TrustErrorCode): Promise<RepositoryState> {
  const required = async (name: string): Promise<Buffer> => {
    const bytes = await read(name);
    if (bytes === undefined) throw new TrustError(code, `the repository lacks ${name}`);
    return bytes;
  };
  const verified = <T extends Metadata<Snapshot> | Metadata<Targets> | Metadata<Timestamp> | Metadata<Root>>(
    delegator: Metadata<Root> | Metadata<Targets>,
    role: string,
    metadata: T,
  ): T => {
    try {
      delegator.verifyDelegate(role, metadata);
    } catch (cause) {
      throw new TrustError(code, `${role} is not signed by its key: ${(cause as Error).message}`, { cause });
    }
    return metadata;
  };
  const pinned = async (role: string, meta: MetaFile): Promise<Buffer> => {
    const name = metadataFile(role, meta.version);
    const bytes = await required(name);
    try {
      meta.verify(bytes);
    } catch (cause) {
      throw new TrustError(code, `${name} is not the signed file: ${(cause as Error).message}`, { cause });
    }
    return bytes;
  };

  const root = await latestRoot(required, read, verified, code);
  const timestampBytes = await required(TIMESTAMP_FILE);
  const timestamp = verified(root, 'timestamp', parseMetadata('timestamp', timestampBytes, TIMESTAMP_FILE, code));
  const snapshotBytes = await pinned('snapshot', timestamp.signed.snapshotMeta);
  const snapshot = verified(root, 'snapshot', parseMetadata('snapshot', snapshotBytes, 'snapshot', code));
  const targetsMeta = snapshot.signed.meta['targets.json'];
  if (targetsMeta === undefined) throw new TrustError(code, 'the snapshot names no targets role');
  const targetsBytes = await pinned('targets', targetsMeta);
  const targets = verified(root, 'targets', parseMetadata('targets', targetsBytes, 'targets', code));

  return {
    root,
    timestamp,
    timestampText: timestampBytes.toString(),
    snapshot,
    targets,
    async role(name) {
      const meta = snapshot.signed.meta[`${name}.json`];
      if (meta === undefined) return undefined;
      return verified(targets, name, parseMetadata('targets', await pinned(name, meta), name, code));
    },
  };
}

/** Specification 1.0.34, section 5.3: each root is signed by the one before it and by itself, versions without a gap. */
async function latestRoot(
  required: (name: string) => Promise<Buffer>,
  read: RepositoryReader,
  verified: (delegator: Metadata<Root>, role: string, metadata: Metadata<Root>) => Metadata<Root>,
  code: TrustErrorCode,
): Promise<Metadata<Root>> {
  const parse = (bytes: Buffer, name: string) => parseMetadata('root', bytes, name, code);
  const first = metadataFile('root', 1);
  let root = parse(await required(first), first);
  verified(root, 'root', root);
  for (;;) {
    const name = metadataFile('root', root.signed.version + 1);
    const bytes = await read(name);
    if (bytes === undefined) return root;
    const next = parse(bytes, name);
    verified(root, 'root', next);
    verified(next, 'root', next);
    if (next.signed.version !== root.signed.version + 1) throw new TrustError(code, `${name} holds another version`);
    root = next;
  }
}
