import { kernelRole } from '@kmend/protocol';
import type { Metadata, Root, Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';

/** Reads a file of the cache; `undefined` where there is none. */
export type CacheReader = (file: string) => Promise<Buffer | undefined>;

/** File of the cache that holds one version of the root role. */
export function rootFile(version: number): string {
  return `${version}.root.json`;
}

export interface TrustedRoot {
  readonly metadata: Metadata<Root>;
  readonly bytes: Buffer;
}

/** The root that came with the host's configuration; it must at least be signed by itself. */
export function parseAnchor(bytes: Buffer, name: string): TrustedRoot {
  const metadata = parseMetadata('root', bytes, name, 'root-unusable');
  try {
    metadata.verifyDelegate('root', metadata);
  } catch (cause) {
    throw new TrustError('root-unusable', `${name} is not a root signed by its own key: ${(cause as Error).message}`, {
      cause,
      hint: 'take root.json again from the patch server’s operator',
    });
  }
  return { metadata, bytes };
}

/**
 * The newest root that a chain of cached files leads to, from the anchor, version by version (specification 1.0.34,
 * section 5.3). A cached root is never believed by itself; where the chain is broken or damaged it ends.
 */
export async function followRoots(anchor: TrustedRoot, read: CacheReader): Promise<TrustedRoot> {
  let trusted = anchor;
  for (;;) {
    const version = trusted.metadata.signed.version + 1;
    const bytes = await read(rootFile(version));
    if (bytes === undefined) return trusted;
    try {
      const metadata = parseMetadata('root', bytes, rootFile(version), 'cache-mismatch');
      trusted.metadata.verifyDelegate('root', metadata);
      metadata.verifyDelegate('root', metadata);
      if (metadata.signed.version !== version) return trusted;
      trusted = { metadata, bytes };
    } catch {
      // The network brings this version again; until then the last good root counts.
      return trusted;
    }
  }
}

/**
 * What the cached, signed metadata says of a kernel's targets: signatures along root, targets, kernel role; no expiry,
 * no snapshot, no network. Throws `not-cached` and `repository-unsigned`.
 */
export async function cachedKernelTargets(anchor: TrustedRoot, read: CacheReader, buildId: string) {
  const root = await followRoots(anchor, read);
  const targets = await delegated(root.metadata, read, 'targets');
  const name = kernelRole(buildId);
  const role = await delegated(targets, read, name);
  const delegation = targets.signed.delegations?.roles?.[name];
  return {
    /** A target, where the role holds it and may. */
    find(path: string) {
      return delegation?.isDelegatedPath(path) === true ? role.signed.targets[path] : undefined;
    },
  };
}

async function delegated(
  delegator: Metadata<Root> | Metadata<Targets>,
  read: CacheReader,
  role: string,
): Promise<Metadata<Targets>> {
  const bytes = await read(`${role}.json`);
  if (bytes === undefined) {
    throw new TrustError('not-cached', `the cache holds no ${role} metadata`, {
      hint: 'let the agent check the repository once',
    });
  }
  const metadata = parseMetadata('targets', bytes, role, 'cache-mismatch');
  try {
    delegator.verifyDelegate(role, metadata);
  } catch (cause) {
    throw new TrustError('repository-unsigned', `cached ${role} metadata is not signed by its key`, {
      cause,
      hint: 'the cache was damaged or tampered with, or the key was replaced: let the agent check the repository again',
    });
  }
  return metadata;
}
