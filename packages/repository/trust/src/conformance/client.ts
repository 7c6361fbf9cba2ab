import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@kmend/base/node';
import { MetadataCache } from '../client/cache.ts';
import { parseAnchor } from '../client/chain.ts';
import { downloadTarget } from '../client/download.ts';
import { type Location, type Session, transaction } from '../client/transaction.ts';
import { defaultLimits } from '../client/transfer.ts';
import { TrustError } from '../error.ts';

/** Inside the suite's metadata directory, and none of the names that it looks at. */
const CACHE = '.kmend';
const ANCHOR = 'anchor.json';
/** Files of a generation that are not the newest metadata of a role. */
const NO_ROLE = /^(\d+\.root|check)\.json$/;

/** Takes a root as the trust anchor of a metadata directory, without any request. */
export async function initialise(metadataDirectory: string, rootPath: string): Promise<void> {
  const root = await readFile(rootPath);
  parseAnchor(root, rootPath);
  await mkdir(join(metadataDirectory, CACHE), { recursive: true });
  await writeFile(join(metadataDirectory, CACHE, ANCHOR), root);
  await writeFile(join(metadataDirectory, 'root.json'), root);
}

/** Brings the top-level roles up to date (TUF specification 1.0.34, section 5). */
export async function refresh(metadataDirectory: string, metadataUrl: string): Promise<void> {
  await inSession(metadataDirectory, { metadata: metadataUrl, targets: metadataUrl }, ({ updater }) =>
    updater.refresh(),
  );
}

/**
 * The same, then each target in the order given, found along the delegations, as one file in `targetDirectory`. All of
 * it is one run of the workflow: metadata that the first target brought is not fetched again for the next. The first
 * failure ends it.
 */
export async function download(
  metadataDirectory: string,
  location: Location,
  targetPaths: readonly string[],
  targetDirectory: string,
): Promise<void> {
  await inSession(metadataDirectory, location, async (session) => {
    for (const path of targetPaths) {
      const target = await session.updater.getTargetInfo(path);
      if (target === undefined) throw new TrustError('not-found', `no role signs a target ${path}`);
      await downloadTarget(session, target, join(targetDirectory, encodeURIComponent(path)));
    }
  });
}

/** The agent's own transaction on the agent's own cache; what it holds afterwards is laid out as the suite wants it. */
async function inSession(
  metadataDirectory: string,
  location: Location,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const cache = new MetadataCache(join(metadataDirectory, CACHE));
  const anchorPath = join(cache.directory, ANCHOR);
  const anchor = parseAnchor(await readFile(anchorPath), anchorPath);
  const edges = { fetch: globalThis.fetch, clock: systemClock, limits: defaultLimits };
  const { signal } = new AbortController();
  try {
    await transaction({ cache, anchor, location, edges }, { from: 'network', signal }, async (session) => {
      await work(session);
      return { result: undefined };
    });
  } finally {
    await layOut(cache, metadataDirectory);
  }
}

async function layOut(cache: MetadataCache, metadataDirectory: string): Promise<void> {
  const generation = await cache.current();
  if (generation === undefined) return;
  const from = join(cache.directory, 'metadata', generation);
  const roles = (await readdir(from)).filter((name) => !NO_ROLE.test(name));
  for (const name of await readdir(metadataDirectory)) {
    if (name.endsWith('.json') && !roles.includes(name)) await rm(join(metadataDirectory, name));
  }
  for (const name of roles) await copyFile(join(from, name), join(metadataDirectory, name));
}
