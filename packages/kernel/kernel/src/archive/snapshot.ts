import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { KernelError } from '../error.ts';
import { download } from './http.ts';
import { type ArchiveEdges, type PackageEntry, readIndex } from './index.ts';
import { baseSuite } from './suite.ts';

/**
 * `/mr/binary/<name>/<version>/binfiles?fileinfo=1` of snapshot.debian.org (its documented machine-usable interface).
 */
const BinFiles = z.object({
  fileinfo: z.record(
    z.string(),
    z.array(
      z.object({
        archive_name: z.string().regex(/^[a-z][a-z-]*$/),
        first_seen: z.string().regex(/^\d{8}T\d{6}Z$/),
        name: z.string(),
      }),
    ),
  ),
});

/** `/mr/binary/<name>/`: every version of a package there has been, newest first. */
const Versions = z.object({ result: z.array(z.object({ binary_version: z.string().regex(/^[0-9][\w.+~:-]*$/) })) });

/**
 * The newest version the snapshot archive knows of a package; `undefined` where it knows none. Unsigned: only to ask
 * further with.
 */
export async function newestInSnapshot(
  edges: ArchiveEdges,
  snapshot: string,
  name: string,
): Promise<string | undefined> {
  const answer = await ask(edges, `${snapshot}/mr/binary/${encodeURIComponent(name)}/`, Versions);
  return answer?.result[0]?.binary_version;
}

/** Times and archives that are looked at: real answers name one to three. */
const PLACES = 8;

/**
 * A package that the suites have dropped. The interface only tells when the file was first seen; name, hash and size
 * are then taken from the signed index of the archive as it stood at that moment, so that nothing unsigned is trusted.
 */
export async function findInSnapshot(
  edges: ArchiveEdges,
  snapshot: string,
  suite: string,
  name: string,
  version: string,
): Promise<PackageEntry> {
  const unknown = new KernelError(
    'package-unknown',
    `neither the suite ${suite} nor the snapshot archive has ${name} ${version}`,
    {
      hint: 'check the version with: apt-cache policy, or on packages.debian.org',
    },
  );
  const seen = await seenAt(edges, snapshot, name, version);
  if (seen === undefined || seen.length === 0) throw unknown;
  for (const { archive, time } of seen) {
    const base = `${snapshot}/archive/${archive}/${time}`;
    // A package of a later suite was first seen in sid.
    const distributions =
      archive === 'debian-security'
        ? [`${baseSuite(suite)}-security`]
        : [...new Set([suite, `${suite}-updates`, `${suite}-proposed-updates`, 'sid'])];
    for (const distribution of distributions) {
      const entries = await readIndex(edges, base, distribution, 'past');
      const found = entries?.find((entry) => entry.name === name && entry.version === version);
      if (found !== undefined) return found;
    }
  }
  throw unknown;
}

async function seenAt(
  edges: ArchiveEdges,
  snapshot: string,
  name: string,
  version: string,
): Promise<{ archive: string; time: string }[] | undefined> {
  edges.progress.step(`ask the snapshot archive for ${name} ${version}`);
  const path = `/mr/binary/${encodeURIComponent(name)}/${encodeURIComponent(version)}/binfiles?fileinfo=1`;
  const answer = await ask(edges, `${snapshot}${path}`, BinFiles);
  return Object.values(answer?.fileinfo ?? {})
    .flat()
    .filter((file) => file.name.endsWith('_amd64.deb') || file.name.endsWith('_all.deb'))
    .slice(0, PLACES)
    .map((file) => ({ archive: file.archive_name, time: file.first_seen }));
}

/** One answer of the machine-usable interface; `undefined` for a 404. */
async function ask<T>(edges: ArchiveEdges, url: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-snapshot-'));
  try {
    const path = await download(edges, url, join(directory, 'answer.json'), { limit: 1 << 20 });
    if (path === undefined) return undefined;
    const parsed = schema.safeParse(JSON.parse(await readFile(path, 'utf8')));
    if (parsed.success) return parsed.data;
    throw new KernelError('archive-garbage', `${url} answered something unexpected`);
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new KernelError('archive-garbage', 'the snapshot archive answered something that is not JSON');
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
