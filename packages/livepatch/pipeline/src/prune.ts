import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withExclusiveUse } from '@kmend/base/node';
import type { Workshop } from './workshop.ts';

/** What of the cache is removed, and why. */
export interface Removal {
  /** In the cache. */
  readonly what: string;
  /** Files or folders; together one row for people. */
  readonly paths: readonly string[];
  readonly bytes: number;
  readonly why: string;
}

export interface PruneOptions {
  /** Compiled objects, packages, sources and lab files go when nothing has read or written them for so many days. */
  readonly unusedDays: number;
  /** Only say what would go. */
  readonly dryRun: boolean;
}

/** What is in the way of nothing, and may be of a build in a process that leaves no mark. */
const YOUNG_MS = 3_600_000;
const DAY_MS = 24 * 3_600_000;
/** What an interrupted prune had set aside. */
const ASIDE = /^\.pruned-/;
/** Scratch folders of builds, in trees. */
const SCRATCH = /^\.(?:build|unit|try|sample|prepare|compile)-/;

/**
 * Removes what no kernel of the store needs, what is damaged or left over, and what was not used for a time. Kernels,
 * images and fixes stay. Waits until no command of kmend uses the cache, and holds new ones back. Each removal is
 * whole: an interrupted run leaves nothing half-removed in its place.
 */
export async function pruneCache(workshop: Workshop, options: PruneOptions): Promise<readonly Removal[]> {
  const { edges, cache } = workshop;
  if (options.dryRun) return await plan(workshop, options.unusedDays);
  const onWait = (user: number): void => edges.progress.step(`wait for process ${user}, which uses the cache`);
  const prune = async (): Promise<readonly Removal[]> => {
    const removals = await plan(workshop, options.unusedDays);
    await setAside(workshop, removals);
    return removals;
  };
  return await withExclusiveUse(cache, prune, { signal: edges.signal, onWait });
}

/** Removes files and folders, each from its place in one step. The cache is this process's alone. */
export async function setAside({ cache, edges }: Workshop, removals: readonly Removal[]): Promise<void> {
  const aside = join(cache, `.pruned-${randomBytes(6).toString('hex')}`);
  await mkdir(aside, { recursive: true });
  try {
    let number = 0;
    for (const { what, paths } of removals) {
      edges.progress.step(`remove ${what}`);
      for (const path of paths) {
        edges.signal.throwIfAborted();
        // Gone from its place in one step.
        const gone = join(aside, `${++number}`);
        await rename(path, gone).catch(async (error: NodeJS.ErrnoException) => {
          // A folder of the cache may lie on another disk.
          if (error.code !== 'EXDEV') throw error;
          await rm(path, { recursive: true, force: true });
        });
        await rm(gone, { recursive: true, force: true });
      }
    }
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function plan(workshop: Workshop, unusedDays: number): Promise<Removal[]> {
  const { cache, edges } = workshop;
  edges.progress.step('look through the cache');
  const kernels = await workshop.kernels.list();
  const { kernels: places, roots } = await workshop.diagnosis();
  const needed = new Set(places.flatMap(({ root }) => root ?? []));
  const removals: Removal[] = [];
  const now = edges.clock.now().getTime();
  // `minimumAge`: since the last use; of leftovers, since something was last put into the folder.
  const add = async (what: string, why: string, paths: readonly string[], minimumAge?: number): Promise<void> => {
    let bytes = 0;
    const old: string[] = [];
    for (const path of paths) {
      edges.signal.throwIfAborted();
      const extent = await extentOf(path);
      const since = minimumAge === undefined ? extent.changedMs : extent.usedMs;
      // Looking at it counts as use.
      if (minimumAge !== 0 && now - since < (minimumAge ?? YOUNG_MS)) continue;
      old.push(path);
      bytes += extent.bytes;
    }
    if (old.length > 0) removals.push({ what, paths: old, bytes: Math.round(bytes), why });
  };
  const builds = new Set(kernels.map(({ buildId }) => buildId));
  const trees = join(cache, 'trees');
  for (const name of await namesIn(trees)) {
    const directory = join(trees, name);
    if (name.endsWith('.lock')) continue;
    const prepared = await readFile(join(directory, 'prepared'), 'utf8').catch(() => '');
    const build = prepared.split('\n', 1)[0] ?? '';
    if (build === '') await add(`tree ${name}`, 'was not prepared to its end', [directory]);
    else if (!builds.has(build)) await add(`tree ${name}`, 'its kernel is not in the store', [directory], 0);
    else {
      const scratch = (await namesIn(directory)).filter((entry) => SCRATCH.test(entry));
      const paths = scratch.map((entry) => join(directory, entry));
      await add(`scratch folders of the tree ${name}`, 'left by interrupted builds', paths);
    }
  }
  for (const { name, state } of roots) {
    const path = [join(cache, 'roots', name)];
    if (!needed.has(name)) await add(`build root ${name}`, 'no kernel of the store needs it', path, 0);
    else if (state === 'damaged') await add(`build root ${name}`, 'is damaged', path);
  }
  const unfinished = ['kernels', 'images', 'roots', 'sources'];
  for (const folder of unfinished) {
    const left = (await namesIn(join(cache, folder))).filter((name) => /^\..*\.tmp$/.test(name));
    await add(
      `unfinished ${folder}`,
      'left by interrupted commands',
      left.map((name) => join(cache, folder, name)),
    );
  }
  const versions = await neededVersions(workshop);
  const sources = await namesIn(join(cache, 'sources'));
  const unneeded = sources.filter((name) => !name.startsWith('.') && ![...versions].some((one) => isOf(name, one)));
  await add(
    'sources',
    'of no kernel, image or fix of the store',
    unneeded.map((name) => join(cache, 'sources', name)),
  );
  const why = `not used for ${unusedDays} days`;
  const age = unusedDays * DAY_MS;
  await add('packages', why, await inside(join(cache, 'packages'), 1), age);
  for (const folder of ['objects', 'units', 'fixed']) await add(folder, why, await inside(join(cache, folder), 2), age);
  const lab = await Promise.all(
    ['', 'saved', 'kernels', 'programs'].map((name) => inside(join(cache, 'lab', name), 1)),
  );
  const labFolders = new Set(['runs', 'saved', 'kernels', 'programs'].map((name) => join(cache, 'lab', name)));
  await add(
    'lab files',
    why,
    lab.flat().filter((path) => !labFolders.has(path)),
    age,
  );
  const aside = (await namesIn(cache)).filter((name) => ASIDE.test(name));
  await add(
    'pruned',
    'left by an interrupted prune',
    aside.map((name) => join(cache, name)),
    0,
  );
  return removals;
}

/** Versions of the distribution's kernel whose sources fixes are taken from. */
async function neededVersions({ kernels, images, fixes }: Workshop): Promise<ReadonlySet<string>> {
  const all = [...(await kernels.list()), ...(await images.list())].map(({ version }) => version);
  const origins = (await fixes.list()).flatMap(({ origin }) =>
    origin.kind === 'debian' ? [origin.from, origin.to] : [],
  );
  return new Set([...all, ...origins]);
}

/** `6.1.170-3`, `6.1.170-3.tar.zst`, `6.1.170-3.changelog`, `6.1.170-3..6.1.176-1.json`. */
function isOf(name: string, version: string): boolean {
  return name === version || name.startsWith(`${version}.`) || name.includes(`..${version}.`);
}

/** Entries so many levels below a folder, but for locks. */
async function inside(folder: string, levels: number): Promise<string[]> {
  const names = (await namesIn(folder)).filter((name) => !name.endsWith('.lock'));
  const paths = names.map((name) => join(folder, name));
  if (levels === 1) return paths;
  return (await Promise.all(paths.map((path) => inside(path, levels - 1)))).flat();
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort();
}

interface Extent {
  readonly bytes: number;
  /** When something of it was last read or written. A scratch folder may hold links to files that are always in use. */
  readonly usedMs: number;
  /** When the entry itself was last changed. */
  readonly changedMs: number;
}

export async function extentOf(path: string): Promise<Extent> {
  const about = await lstat(path).catch(() => undefined);
  if (about === undefined) return { bytes: 0, usedMs: 0, changedMs: 0 };
  // That a folder was looked into is no use of it.
  let usedMs = about.isDirectory() ? about.mtimeMs : Math.max(about.mtimeMs, about.atimeMs);
  // Trees with changed headers are links to the others' files.
  let bytes = about.isFile() ? (about.blocks * 512) / about.nlink : about.blocks * 512;
  if (about.isDirectory()) {
    for (const name of await namesIn(path)) {
      const part = await extentOf(join(path, name));
      bytes += part.bytes;
      usedMs = Math.max(usedMs, part.usedMs);
    }
  }
  return { bytes, usedMs, changedMs: about.mtimeMs };
}
