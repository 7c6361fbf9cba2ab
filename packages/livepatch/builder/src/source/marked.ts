import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { BuilderError } from '../error.ts';
import { type ChangedLines, markLines, parseChanges } from './lines.ts';

/**
 * The text of a file to compile, such that lines it shares with the stock text keep their numbers and `__FILE__` its
 * value.
 */
export async function markedText(
  edges: Pick<Edges, 'run' | 'signal'>,
  path: string,
  stock: string,
  text: string,
): Promise<string> {
  return markLines(path, text, await changedLines(edges, path, stock, text));
}

/** The same for a text that others include, which is found in its place and so needs no name. */
export async function markedInclude(
  edges: Pick<Edges, 'run' | 'signal'>,
  path: string,
  stock: string,
  text: string,
): Promise<string> {
  return markLines(undefined, text, await changedLines(edges, path, stock, text));
}

async function changedLines(
  edges: Pick<Edges, 'run' | 'signal'>,
  path: string,
  stock: string,
  text: string,
): Promise<ChangedLines[]> {
  if (text === stock) return [];
  const scratch = await mkdtemp(join(tmpdir(), 'kmend-diff-'));
  try {
    const [before, after] = [join(scratch, 'a'), join(scratch, 'b')];
    await Promise.all([writeFile(before, stock, 'latin1'), writeFile(after, text, 'latin1')]);
    const diff = await edges.run('diff', ['--text', before, after], { signal: edges.signal, timeoutMs: 30_000 });
    if (diff.exitCode > 1) throw new BuilderError('patch-does-not-apply', `${path} cannot be compared: ${diff.stderr}`);
    return parseChanges(diff.stdout.toString('latin1'));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
