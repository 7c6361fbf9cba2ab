import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metadata, MetaFile, Root, Snapshot, Targets, Timestamp } from '@tufjs/models';
import type { TrustedRoot } from '../client/chain.ts';
import { TrustError, type TrustErrorCode } from '../error.ts';
import { followChain } from '../keys/anchor.ts';
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
 * Loads and verifies a repository from its own side, from the root that is pinned beside the signing keys: what the
 * repository offers as its first one is not looked at. No cache, no expiry (an expired repository can still be
 * renewed). `code` is what anything wrong counts as, `unsigned` a signature that is missing: `repository-damaged` on
 * the server, which reads its own files.
 */
export async function loadState(
  read: RepositoryReader,
  anchor: TrustedRoot,
  code: TrustErrorCode,
  unsigned: TrustErrorCode = code,
): Promise<RepositoryState> {
  const required = async (name: string): Promise<Buffer> => {
    const bytes = await read(name);
    if (bytes === undefined) throw new TrustError(code, `the repository lacks ${name}`);
    return bytes;
  };
  const verified = <T extends Metadata<Snapshot> | Metadata<Targets> | Metadata<Timestamp>>(
    delegator: Metadata<Root> | Metadata<Targets>,
    role: string,
    metadata: T,
  ): T => {
    try {
      delegator.verifyDelegate(role, metadata);
    } catch (cause) {
      throw new TrustError(unsigned, `${role} is not signed by its key: ${(cause as Error).message}`, {
        cause,
        details: { role },
      });
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

  const root = await followChain(
    anchor.metadata,
    async (version) => {
      const name = metadataFile('root', version);
      const bytes = await read(name);
      return bytes === undefined ? undefined : parseMetadata('root', bytes, name, code);
    },
    (message, cause) => new TrustError(cause === undefined ? code : unsigned, message, { cause }),
  );
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
