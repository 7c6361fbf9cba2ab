import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { withLock, writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { KernelError } from './error.ts';
import type { SourceStore } from './source.ts';

/** Two versions of the source in a suite. */
export interface DeltaRange {
  readonly suite: string;
  readonly from: string;
  readonly to: string;
}

/** C files and headers that differ between two versions of the kernel source. */
export interface Delta {
  /** Files of both versions, by path. */
  readonly changed: readonly string[];
  /** Files that only the later version has. */
  readonly added: readonly string[];
}

const Kept = z.object({ changed: z.array(z.string()), added: z.array(z.string()) });
const STEP_LIMIT_MS = 15 * 60_000;

/**
 * What changed between two versions: both sources are unpacked once, what differs is kept, and `SourceStore.files` then
 * has it without unpacking again.
 */
export async function sourceDelta(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  sources: SourceStore,
  { suite, from, to }: DeltaRange,
): Promise<Delta> {
  const list = join(sources.directory, `${from}..${to}.json`);
  const known = async (): Promise<Delta | undefined> =>
    Kept.safeParse(parseJson(await readFile(list, 'utf8').catch(() => ''))).data;
  return await withLock(
    join(sources.directory, `.${from}..${to}.lock`),
    async () => (await known()) ?? (await compare(edges, sources, { suite, from, to }, list)),
    { signal: edges.signal },
  );
}

async function compare(
  { run, signal, progress }: Pick<Edges, 'run' | 'progress' | 'signal'>,
  sources: SourceStore,
  { suite, from, to }: DeltaRange,
  list: string,
): Promise<Delta> {
  const scratch = join(sources.directory, `.${from}..${to}.tmp`);
  await rm(scratch, { recursive: true, force: true });
  try {
    const versions = [from, to];
    // The second download does not wait for the first unpacking, and each unpacker has a processor of its own.
    await Promise.all(
      versions.map(async (version) => {
        const tarball = await sources.tarball(suite, version);
        const into = join(scratch, version);
        await mkdir(into, { recursive: true });
        progress.step(`unpack the source ${version}`);
        const args = ['--zstd', '-xf', tarball, '-C', into, '--strip-components=1', '--wildcards', '*.[ch]'];
        const result = await run('tar', args, { signal, timeoutMs: STEP_LIMIT_MS });
        if (result.exitCode !== 0) {
          await rm(tarball, { force: true });
          throw new KernelError('package-damaged', `${tarball} cannot be unpacked: ${result.stderr.trim()}`, {
            hint: 'run the command again: it is created again',
          });
        }
      }),
    );
    progress.step(`compare the sources ${from} and ${to}`);
    const args = ['-rq', '--no-dereference', from, to];
    const result = await run('diff', args, { cwd: scratch, signal, timeoutMs: STEP_LIMIT_MS });
    if (result.exitCode > 1) throw new KernelError('package-damaged', `diff failed: ${result.stderr.trim()}`);
    const delta = parse(result.stdout.toString('utf8'), from, to);
    for (const version of versions) {
      for (const path of version === to ? [...delta.changed, ...delta.added] : delta.changed) {
        const kept = join(sources.directory, version, path);
        await mkdir(dirname(kept), { recursive: true });
        await rename(join(scratch, version, path), kept);
      }
    }
    await writeFileAtomic(list, `${JSON.stringify(delta)}\n`);
    return delta;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The lines of `diff -rq`. */
function parse(text: string, from: string, to: string): Delta {
  const changed: string[] = [];
  const added: string[] = [];
  for (const line of text.split('\n')) {
    const both = /^Files (\S+) and \S+ differ$/.exec(line)?.[1];
    if (both?.startsWith(`${from}/`)) changed.push(both.slice(from.length + 1));
    const [, folder, name] = /^Only in ([^:]+): (.+\.[ch])$/.exec(line) ?? [];
    if (folder === to) added.push(name ?? '');
    else if (folder?.startsWith(`${to}/`)) added.push(`${folder.slice(to.length + 1)}/${name}`);
  }
  return { changed: changed.sort(), added: added.sort() };
}
