import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Run } from '@kmend/base';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';

/** One source file through a series of fixes. */
export interface ChangedSource {
  /** Path in the tree. */
  readonly path: string;
  readonly stock: string;
  /** The text behind each fix that changes it, in the order of the series. */
  readonly versions: readonly { readonly fix: string; readonly text: string }[];
}

/** The text of a file once the fixes of a set are applied. The set is a beginning of the series. */
export function textAfter(source: ChangedSource, fixes: ReadonlySet<string>): string {
  return source.versions.findLast(({ fix }) => fixes.has(fix))?.text ?? source.stock;
}

export interface ApplyEdges {
  readonly run: Run;
  readonly signal: AbortSignal;
}

/**
 * Applies the fixes in order to copies of the files they touch, in `scratch`. Context must match exactly (no fuzz); it may have
 * moved. Errors: `patch-does-not-apply` with the fix and the hunk, `patch-changes-nothing`.
 */
export async function applyFixes(
  edges: ApplyEdges,
  treeSource: string,
  fixes: readonly Fix[],
  scratch: string,
): Promise<ChangedSource[]> {
  const root = join(scratch, 'source');
  const stock = new Map<string, string>();
  const current = new Map<string, string>();
  const versions = new Map<string, { fix: string; text: string }[]>();
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
    await applyOne(edges, fix, root, current);
    for (const path of fix.files) {
      const text = await readFile(join(root, path), 'latin1');
      if (text !== current.get(path)) versions.get(path)?.push({ fix: fix.id, text });
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

async function applyOne(
  edges: ApplyEdges,
  fix: Fix,
  root: string,
  current: ReadonlyMap<string, string>,
): Promise<void> {
  const options = { cwd: root, stdin: Buffer.from(fix.patch, 'latin1'), signal: edges.signal, timeoutMs: 30_000 };
  const words = ['--unified', '-p1', '-F0', '-s', '-f', '--no-backup-if-mismatch', '-r', '-'];
  const run = await confined(edges.run, [], [root]);
  const forward = await run('patch', words, options);
  if (forward.exitCode === 0) return;
  // GNU patch leaves what it could apply: only from the texts as they were can be told whether the kernel has the fix already.
  for (const path of fix.files) await writeFile(join(root, path), current.get(path) ?? '', 'latin1');
  const reversed = await run('patch', [...words, '-R', '--dry-run'], options);
  if (reversed.exitCode === 0) {
    throw new BuilderError('patch-changes-nothing', `${fix.id} is in this kernel's source already`, {
      hint: 'leave it out for this kernel',
    });
  }
  const said = `${forward.stdout.toString('utf8')}${forward.stderr}`.trim().split('\n').slice(0, 6).join('; ');
  throw new BuilderError('patch-does-not-apply', `${fix.id} does not apply to this kernel's source: ${said}`, {
    hint: 'import the fix as it was made for this kernel series, or name the fixes it builds on before it',
  });
}
