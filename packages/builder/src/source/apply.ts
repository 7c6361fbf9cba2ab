import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { BuilderError } from '../error.ts';
import type { Fix } from '../fix/model.ts';
import { markLines, parseChanges } from './lines.ts';

/** One source file before and after all fixes, as it is compiled. */
export interface ChangedSource {
  /** Path in the tree. */
  readonly path: string;
  readonly original: string;
  readonly patched: string;
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
  const paths = [...new Set(fixes.flatMap((fix) => fix.files))].sort();
  const before = join(scratch, 'a');
  const after = join(scratch, 'b');
  for (const path of paths) {
    for (const root of [before, after]) {
      const to = join(root, path);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(join(treeSource, path), to).catch((cause: unknown) => {
        throw new BuilderError('unit-not-built', `the source tree has no file ${path}`, { cause });
      });
    }
  }
  for (const fix of fixes) await applyOne(edges, fix, after);
  const changed: ChangedSource[] = [];
  for (const path of paths) {
    const diff = await edges.run('diff', ['--text', join(before, path), join(after, path)], { signal: edges.signal });
    if (diff.exitCode === 0) continue;
    const original = await readFile(join(before, path), 'utf8');
    const patched = await readFile(join(after, path), 'utf8');
    const changes = parseChanges(diff.stdout.toString('utf8'));
    changed.push({ path, original: markLines(path, original, []), patched: markLines(path, patched, changes) });
  }
  if (changed.length === 0) {
    throw new BuilderError('patch-changes-nothing', 'the fixes together change no file of this kernel', {
      hint: 'the kernel may contain them already',
    });
  }
  return changed;
}

async function applyOne(edges: ApplyEdges, fix: Fix, root: string): Promise<void> {
  const options = { cwd: root, stdin: fix.patch, signal: edges.signal, timeoutMs: 30_000 };
  const forward = ['-p1', '-F0', '-s', '-f', '--no-backup-if-mismatch', '-r', '-'];
  // GNU patch leaves what it could apply: try first, so that the message is about one cause.
  const dry = await edges.run('patch', [...forward, '--dry-run'], options);
  if (dry.exitCode === 0) {
    await runOk(edges.run, 'patch', forward, options);
    return;
  }
  const reversed = await edges.run('patch', [...forward, '-R', '--dry-run'], options);
  const said = `${dry.stdout.toString('utf8')}${dry.stderr}`.trim().split('\n').slice(0, 6).join('; ');
  throw new BuilderError(
    reversed.exitCode === 0 ? 'patch-changes-nothing' : 'patch-does-not-apply',
    reversed.exitCode === 0
      ? `${fix.id} is in this kernel's source already`
      : `${fix.id} does not apply to this kernel's source: ${said}`,
    reversed.exitCode === 0
      ? { hint: 'leave it out for this kernel' }
      : { hint: 'import the fix as it was made for this kernel series, or name the fixes it builds on before it' },
  );
}
