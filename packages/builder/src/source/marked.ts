import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BuilderError } from '../error.ts';
import type { ApplyEdges } from './apply.ts';
import { markLines, parseChanges } from './lines.ts';

/** The text of a file to compile, such that lines it shares with the stock text keep their numbers and `__FILE__` its value. */
export async function markedText(edges: ApplyEdges, path: string, stock: string, text: string): Promise<string> {
  if (text === stock) return markLines(path, stock, []);
  const scratch = await mkdtemp(join(tmpdir(), 'kmend-diff-'));
  try {
    const [before, after] = [join(scratch, 'a'), join(scratch, 'b')];
    await Promise.all([writeFile(before, stock, 'latin1'), writeFile(after, text, 'latin1')]);
    const diff = await edges.run('diff', ['--text', before, after], { signal: edges.signal, timeoutMs: 30_000 });
    if (diff.exitCode > 1) throw new BuilderError('patch-does-not-apply', `${path} cannot be compared: ${diff.stderr}`);
    return markLines(path, text, parseChanges(diff.stdout.toString('latin1')));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
