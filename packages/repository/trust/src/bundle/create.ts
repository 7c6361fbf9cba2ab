import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sha256File, syncDirectory } from '@kmend/base/node';
import {
  FLEET_POLICY_PATH,
  type KernelPolicy,
  kernelPolicyPath,
  kernelRole,
  manifestPath,
  modulePath,
  POLICY_ROLE,
} from '@kmend/protocol';
import { pack } from 'tar-stream';
import { MetadataCache } from '../client/cache.ts';
import { openRepositoryClient } from '../client/client.ts';
import { directoryFetch } from '../client/directory-fetch.ts';
import type { Fetch } from '../client/transfer.ts';
import type { RepositoryClient } from '../client/types.ts';
import { diskError, TrustError } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { metadataFile, TIMESTAMP_FILE, targetFile } from '../repository/layout.ts';

export interface BundleOptions {
  /** Base URL of the repository, or its directory. */
  readonly repository: string;
  /** The oldest root that hosts may hold: their trust anchor, as bytes or as the path of a file. */
  readonly root: Uint8Array | string;
  /** Build ids of the kernels that the hosts run. */
  readonly kernels: readonly string[];
  /** Where the bundle goes; replaced whole, or not at all. */
  readonly out: string;
  readonly signal: AbortSignal;
  readonly fetch?: Fetch;
}

export interface Bundle {
  readonly path: string;
  /** Length in bytes, and SHA-256 in lower-case hex. */
  readonly size: number;
  readonly sha256: string;
  readonly kernels: readonly { readonly buildId: string; readonly serials: readonly number[] }[];
  /** Until then hosts take it: the earliest expiry of the signatures in it. */
  readonly validUntil: Date;
}

/**
 * Writes what hosts of some kernels need of a repository into one tar archive: every root from the given one on, the
 * top-level roles, the policies and those kernels' roles, and the livepatches that any channel chooses. All of it is
 * verified on the way, as a host would. The same state of a repository gives the same bytes.
 */
export async function createBundle(options: BundleOptions): Promise<Bundle> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-bundle-'));
  try {
    const client = await openRepositoryClient({ directory, root: options.root, ...(await sourceOf(options)) });
    await client.check(options.signal);
    await client.fleetPolicy(options.signal);
    const kernels: { buildId: string; serials: number[] }[] = [];
    for (const buildId of new Set(options.kernels)) {
      kernels.push({ buildId, serials: await fetchKernel(client, buildId, options.signal) });
    }
    const { files, validUntil } = await collect(new MetadataCache(directory), options.root, kernels);
    await writeArchive(files, options.out);
    const { size } = await stat(options.out);
    return { path: options.out, size, sha256: await sha256File(options.out), kernels, validUntil };
  } catch (cause) {
    throw diskError(cause, options.out, 'it is unchanged');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function sourceOf({
  repository,
  fetch,
}: BundleOptions): Promise<{ readonly url: string; readonly fetch?: Fetch }> {
  if (/^https?:/.test(repository)) return { url: repository, ...(fetch === undefined ? {} : { fetch }) };
  if ((await stat(repository).catch(() => undefined))?.isDirectory() === true) {
    return { url: 'directory:///', fetch: directoryFetch(repository) };
  }
  throw new TrustError('repository-missing', `${repository} is neither a directory nor an http(s) address`);
}

/** Fetches what a kernel's hosts may be told to run, whatever their channel. */
async function fetchKernel(client: RepositoryClient, buildId: string, signal: AbortSignal): Promise<number[]> {
  const policy = await client.kernelPolicy(buildId, signal);
  if (policy === undefined) {
    throw new TrustError('not-found', `the repository does not cover kernel ${buildId}`, {
      hint: 'publish a livepatch for it first',
    });
  }
  const serials = chosenAnywhere(policy);
  for (const serial of serials) await client.fetchLivepatch(buildId, serial, signal);
  return serials;
}

function chosenAnywhere({ channels, withdrawn }: KernelPolicy): number[] {
  const never = new Set(withdrawn.map(({ serial }) => serial));
  const chosen = Object.values(channels).flatMap(({ settled, rollout }) =>
    [settled ?? [], rollout?.serial ?? []].flat(),
  );
  return [...new Set(chosen)].filter((serial) => !never.has(serial)).sort((a, b) => a - b);
}

/** A file of the archive: its name in the repository, and where it lies now or what it holds. */
type Files = Map<string, string | Buffer>;

async function collect(
  cache: MetadataCache,
  root: Uint8Array | string,
  kernels: Bundle['kernels'],
): Promise<{ readonly files: Files; readonly validUntil: Date }> {
  const generation = (await cache.current()) ?? '';
  const read = async (role: string): Promise<Buffer> =>
    (await cache.read(generation, `${role}.json`)) ?? Buffer.alloc(0);
  const anchor = typeof root === 'string' ? await readFile(root) : Buffer.from(root);
  const { version } = parseMetadata('root', anchor, 'the given root', 'root-unusable').signed;
  const files: Files = new Map([[metadataFile('root', version), anchor]]);
  for (const name of await readdir(join(cache.directory, 'metadata', generation))) {
    if (/^\d+\.root\.json$/.test(name))
      files.set(`metadata/${name}`, join(cache.directory, 'metadata', generation, name));
  }
  const newest = parseMetadata('root', await read('root'), 'root', 'cache-mismatch').signed;
  const timestamp = await read('timestamp');
  files.set(TIMESTAMP_FILE, timestamp);
  const { expires } = parseMetadata('timestamp', timestamp, 'timestamp', 'cache-mismatch').signed;
  const snapshotBytes = await read('snapshot');
  const snapshot = parseMetadata('snapshot', snapshotBytes, 'snapshot', 'cache-mismatch').signed;
  files.set(metadataFile('snapshot', snapshot.version), snapshotBytes);
  const expiries = [newest.expires, expires, snapshot.expires];

  const wanted = new Map<string, readonly string[]>([
    ['targets', []],
    [POLICY_ROLE, [FLEET_POLICY_PATH, ...kernels.map(({ buildId }) => kernelPolicyPath(buildId))]],
  ]);
  for (const { buildId, serials } of kernels) {
    const paths = serials.flatMap((serial) => [modulePath(buildId, serial), manifestPath(buildId, serial)]);
    wanted.set(kernelRole(buildId), paths);
  }
  for (const [role, paths] of wanted) {
    const bytes = await read(role);
    const { signed } = parseMetadata('targets', bytes, role, 'cache-mismatch');
    files.set(metadataFile(role, signed.version), bytes);
    expiries.push(signed.expires);
    for (const path of paths) {
      const sha256 = signed.targets[path]?.hashes['sha256'] ?? '';
      files.set(targetFile(path, sha256), join(cache.targets, ...path.split('/')));
    }
  }
  return { files, validUntil: new Date(Math.min(...expiries.map((expires) => new Date(expires).getTime()))) };
}

async function writeArchive(files: Files, out: string): Promise<void> {
  const temporary = `${out}.tmp`;
  await mkdir(dirname(out), { recursive: true });
  try {
    const archive = pack();
    const written = pipeline(archive, createWriteStream(temporary, { mode: 0o644 }));
    // Awaited beside every entry below, and at the end.
    written.catch(() => undefined);
    for (const [name, content] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const bytes = typeof content === 'string' ? await readFile(content) : content;
      const header = { name, size: bytes.length, mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 };
      const added = new Promise<void>((resolve, reject) => {
        archive.entry(header, bytes, (error) => (error ? reject(error) : resolve()));
      });
      await Promise.race([added, written]);
    }
    archive.finalize();
    await written;
    const handle = await open(temporary, 'r+');
    await handle.sync().finally(() => handle.close());
    await rename(temporary, out);
    await syncDirectory(dirname(out));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
