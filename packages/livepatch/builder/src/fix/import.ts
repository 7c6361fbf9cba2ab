import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Edges, errorText } from '@kmend/base';
import { type DeltaRange, type SourceStore, sourceDelta, titleOf } from '@kmend/kernel';
import { BuilderError } from '../error.ts';
import type { DeltaTexts } from './companions.ts';
import { withRepository } from './git.ts';
import type { Fix } from './model.ts';
import { type HeaderParts, lineChanges, partOf } from './part.ts';
import { PATCH_LIMIT } from './patch.ts';
import { type FixWords, makeFix } from './store.ts';

/** What the importer is told; a title it is not told is taken from where the fix comes from. */
export type ImportWords = Omit<FixWords, 'title'> & { readonly title?: string | undefined };

/**
 * The difference between two Debian versions of the kernel source, limited to `paths`, and of the headers in `parts` to
 * what concerns the names given for each.
 */
export async function importFromDebian(
  edges: Pick<Edges, 'run' | 'signal'>,
  sources: SourceStore,
  words: ImportWords,
  what: {
    readonly suite: string;
    readonly from: string;
    readonly to: string;
    readonly paths: readonly string[];
    readonly parts?: HeaderParts | undefined;
  },
): Promise<Fix> {
  const { suite, from, to, parts = {} } = what;
  const paths = [...new Set(what.paths)].sort();
  for (const path of paths) {
    if (path.startsWith('/') || path.split('/').includes('..')) {
      throw new BuilderError('fix-unsafe-path', `"${path}" is not a path inside the kernel source`);
    }
  }
  const before = await sources.files(suite, from, paths);
  const after = await sources.files(suite, to, paths);
  let patch = '';
  for (const path of paths) {
    const names = parts[path];
    const [old, fresh] = [`${before}/${path}`, `${after}/${path}`];
    const labels = ['--label', `a/${path}`, '--label', `b/${path}`];
    const result =
      names === undefined
        ? await edges.run('diff', ['-u', '-p', '--text', ...labels, old, fresh], { signal: edges.signal })
        : await edges.run('diff', ['-u', '-p', '--text', ...labels, old, '-'], {
            signal: edges.signal,
            stdin: await partialText(edges, old, fresh, names),
          });
    if (result.exitCode > 1) {
      throw new BuilderError('fix-without-origin', `${path} is not a file of both ${from} and ${to}`, {
        hint: 'check the path; a file that only one version has cannot be patched live',
      });
    }
    patch += result.stdout.toString('latin1');
  }
  if (patch === '') {
    throw new BuilderError('fix-empty', `${paths.join(', ')}: no difference between ${from} and ${to}`, {
      hint: 'the fix is in other files, or in other versions',
    });
  }
  const kept = Object.entries(parts).map(([path, names]): [string, string[]] => [path, [...names]]);
  const title = words.title ?? titleOf(await sources.changelog(suite, to), words.id);
  return makeFix(
    { ...words, title: title ?? `${paths.join(', ')}: ${from} to ${to}` },
    { kind: 'debian', suite, from, to, paths, ...(kept.length === 0 ? {} : { parts: Object.fromEntries(kept) }) },
    patch,
  );
}

/** The bytes of a file before a change, with that part of the change alone which concerns the names. */
async function partialText(
  edges: Pick<Edges, 'run' | 'signal'>,
  old: string,
  fresh: string,
  names: readonly string[],
): Promise<Buffer> {
  const { stdout } = await edges.run('diff', ['-U0', '--text', old, fresh], { signal: edges.signal });
  const [before, after] = await Promise.all([readFile(old, 'latin1'), readFile(fresh, 'latin1')]);
  return Buffer.from(partOf(before, after, lineChanges(stdout.toString('latin1')), new Set(names)), 'latin1');
}

const deltasKnown = new WeakMap<SourceStore, Map<string, DeltaTexts>>();

/** The texts of a delta, for finding what a fix from it needs beside its own files. The same object for one store. */
export function deltaTexts(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  sources: SourceStore,
  range: DeltaRange,
): DeltaTexts {
  const known = deltasKnown.get(sources) ?? new Map<string, DeltaTexts>();
  deltasKnown.set(sources, known);
  const key = [range.suite, range.from, range.to].join(' ');
  const found = known.get(key) ?? readDelta(edges, sources, range);
  known.set(key, found);
  return found;
}

function readDelta(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  sources: SourceStore,
  range: DeltaRange,
): DeltaTexts {
  let changed: Promise<readonly string[]> | undefined;
  const list = async () => (await sourceDelta(edges, sources, range)).changed;
  return {
    // One that failed, or was interrupted, is asked for again.
    changed: () => {
      changed ??= list().catch((error: unknown) => {
        changed = undefined;
        throw error;
      });
      return changed;
    },
    text: async (path, version) => {
      const folder = await sources.files(range.suite, range[version], [path]);
      return await readFile(`${folder}/${path}`, 'latin1');
    },
  };
}

/** A patch file; `paths`: files and folders to limit it to. */
export async function importFromPatch(words: ImportWords, path: string, paths?: readonly string[]): Promise<Fix> {
  const patch = await readPatch(path).catch((error: unknown) => {
    throw new BuilderError('fix-without-origin', `the patch cannot be read: ${errorText(error)}`);
  });
  const subject = /^Subject: (?:\[PATCH[^\]]*\] )?(.+)$/m.exec(patch)?.[1];
  // The text of a mail, unlike that of a source, is meant as UTF-8.
  const title = subject === undefined ? undefined : Buffer.from(subject, 'latin1').toString('utf8');
  return makeFix(
    { ...words, title: words.title ?? title ?? words.id },
    { kind: 'patch', file: basename(path), ...chosen(paths) },
    patch,
  );
}

function chosen(paths: readonly string[] | undefined): { paths?: string[] } {
  return paths === undefined || paths.length === 0 ? {} : { paths: [...new Set(paths)].sort() };
}

/** Not a device or a pipe, which may never end, and not a file that is far too large for a patch. */
async function readPatch(path: string): Promise<string> {
  const { size, isFile } = await stat(path).then((it) => ({ size: it.size, isFile: it.isFile() }));
  if (!isFile) throw new Error(`${path} is not a file`);
  if (size > PATCH_LIMIT) throw new Error(`${path} has more than ${PATCH_LIMIT} bytes`);
  return await readFile(path, 'latin1');
}

/** Of Kconfig files git shows all, so that a changed line can be told to be help text by what is above it. */
const KCONFIG = ':(top,glob)**/Kconfig*';

/** One commit of a git repository; `paths`: files and folders to limit it to. */
export async function importFromGit(
  edges: Pick<Edges, 'run' | 'signal'>,
  words: ImportWords,
  directory: string,
  commit: string,
  paths?: readonly string[],
): Promise<Fix> {
  // A name that begins with a dash would be read as an option.
  if (!/^[A-Za-z0-9][\w./^~@{}-]*$/.test(commit)) {
    throw new BuilderError('fix-without-origin', `"${commit}" is not the name of a commit`);
  }
  return await withRepository(edges, directory, async (git) => {
    const name = ['--verify', '--end-of-options', `${commit}^{commit}`];
    const id = (await git('rev-parse', ...name)).toString('utf8').trim().split('\n').at(-1) ?? '';
    const title = (await git('show', '-s', '--format=%s', id)).toString('utf8').trim();
    const plain = ['-p', '--no-color', '--no-ext-diff', '--no-textconv', '--no-renames', '--full-index'];
    const prefixes = ['--src-prefix=a/', '--dst-prefix=b/'];
    const diff = async (...more: string[]): Promise<string> =>
      (await git('diff-tree', ...plain, ...prefixes, ...more)).toString('latin1');
    const code = await diff('-U3', `${id}^`, id, '--', ':(top,exclude,glob)**/Kconfig*');
    const patch = `${code}${await diff('-U100000', `${id}^`, id, '--', KCONFIG)}`;
    return makeFix({ ...words, title: words.title ?? title }, { kind: 'git', commit: id, ...chosen(paths) }, patch);
  });
}
