import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Edges, Run, RunOptions } from '@kmend/base';
import { MACHINE } from '@kmend/toolchain';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { checkPlaces, type MovedHunk } from './hunk-places.ts';

/** One source file through a series of fixes. */
export interface ChangedSource {
  /** Path in the tree. */
  readonly path: string;
  readonly stock: string;
  /** The text behind each fix that changes it, in the order of the series. */
  readonly versions: readonly ChangedVersion[];
}

export interface ChangedVersion {
  readonly fix: string;
  readonly text: string;
  /** Hunks of the fix that lie in another function than they name. */
  readonly moved?: readonly MovedHunk[];
}

/** The text of a file once the fixes of a set are applied. The set is a beginning of the series. */
export function textAfter(source: ChangedSource, fixes: ReadonlySet<string>): string {
  return source.versions.findLast(({ fix }) => fixes.has(fix))?.text ?? source.stock;
}

/**
 * Applies the fixes in order to copies of the files they touch, in `scratch`. Context must match exactly (no fuzz); it
 * may have moved, to a place that is certain (`checkPlaces`). Errors: `patch-does-not-apply` with the fix and the hunk,
 * `patch-ambiguous`, `patch-changes-nothing`.
 */
export async function applyFixes(
  edges: Pick<Edges, 'run' | 'signal'>,
  treeSource: string,
  fixes: readonly Fix[],
  scratch: string,
): Promise<ChangedSource[]> {
  const root = join(scratch, 'source');
  const stock = new Map<string, string>();
  const current = new Map<string, string>();
  const versions = new Map<string, ChangedVersion[]>();
  for (const path of [...new Set(fixes.flatMap((fix) => fix.files))].sort()) {
    const to = join(root, path);
    await mkdir(dirname(to), { recursive: true });
    await copyFile(join(treeSource, path), to).catch((cause: unknown) => {
      throw new BuilderError('unit-not-built', `the source tree of this kernel has no file ${path}`, {
        hint: 'check that the patch names its files from the top of the tree; other series may have files that this one has not',
        cause,
      });
    });
    const text = await readFile(to, 'latin1');
    stock.set(path, text);
    current.set(path, text);
    versions.set(path, []);
  }
  for (const fix of fixes) {
    const said = await applyOne(edges, fix, root, current);
    const after = new Map<string, string>();
    for (const path of fix.files) after.set(path, await readFile(join(root, path), 'latin1'));
    const before = new Map(fix.files.map((path) => [path, current.get(path) ?? '']));
    const moved = checkPlaces(fix, said, before, after);
    for (const [path, text] of after) {
      const here = moved.filter((hunk) => hunk.path === path);
      const entry = { fix: fix.id, text, ...(here.length === 0 ? {} : { moved: here }) };
      if (text !== current.get(path)) versions.get(path)?.push(entry);
      current.set(path, text);
    }
  }
  const changed = [...stock]
    .filter(([path, text]) => current.get(path) !== text)
    .map(([path, text]) => ({ path, stock: text, versions: versions.get(path) ?? [] }));
  if (changed.length === 0) {
    throw new BuilderError('patch-changes-nothing', 'the fixes together change no file of this kernel', {
      hint: 'the kernel may contain them already',
    });
  }
  return changed;
}

/** What patch(1) says of the places. */
async function applyOne(
  edges: Pick<Edges, 'run' | 'signal'>,
  fix: Fix,
  root: string,
  current: ReadonlyMap<string, string>,
): Promise<string> {
  const options = { cwd: root, stdin: Buffer.from(fix.patch, 'latin1'), signal: edges.signal, timeoutMs: 30_000 };
  const words = ['--unified', '-p1', '-F0', '-f', '--no-backup-if-mismatch', '-r', '-'];
  const run = await confined(edges.run, MACHINE, [], [root]);
  const forward = await run('patch', words, options);
  if (forward.exitCode === 0) return forward.stdout.toString('latin1');
  // GNU patch leaves what it could apply: only from the texts as they were can be told whether the kernel has the fix
  // already.
  for (const path of fix.files) await writeFile(join(root, path), current.get(path) ?? '', 'latin1');
  if (await isThere(run, words, options, fix, root, current)) {
    throw new BuilderError('patch-changes-nothing', `${fix.id} is in this kernel's source already`, {
      hint: 'leave it out for this kernel',
    });
  }
  const lines = `${forward.stdout.toString('utf8')}${forward.stderr}`.trim().split('\n');
  // Files are named where a hunk of theirs fails.
  const said = lines.filter(
    (line, index) => !line.startsWith('patching file ') || /^Hunk .*FAILED/.test(lines[index + 1] ?? ''),
  );
  throw new BuilderError(
    'patch-does-not-apply',
    `${fix.id} does not apply to this kernel's source: ${said.slice(0, 6).join('; ')}`,
    {
      hint: 'import the fix as it was made for this kernel series, or name the fixes it builds on before it',
    },
  );
}

/**
 * Whether a fix can be taken out of the texts, each hunk at a place that is certain: it could be a sibling's that is
 * found.
 */
async function isThere(
  run: Run,
  words: readonly string[],
  options: RunOptions,
  fix: Fix,
  root: string,
  current: ReadonlyMap<string, string>,
): Promise<boolean> {
  const back = await run('patch', [...words, '-R'], options);
  if (back.exitCode !== 0) return false;
  const before = new Map<string, string>();
  for (const path of fix.files) before.set(path, await readFile(join(root, path), 'latin1'));
  const now = new Map(fix.files.map((path) => [path, current.get(path) ?? '']));
  try {
    return checkPlaces({ ...fix, back: true }, back.stdout.toString('latin1'), now, before).length === 0;
  } catch (error) {
    if (error instanceof BuilderError) return false;
    throw error;
  }
}
