import type { Edges } from '@kmend/base';
import type { PreparedTree } from '../tree/tree.ts';

/**
 * C files and headers of the tree that have one of these words. Those of other architectures, and of what is not the
 * kernel, are left out.
 */
export async function filesWith(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  words: readonly string[],
): Promise<string[]> {
  const elsewhere = ['Documentation', 'tools', 'samples', 'scripts'].map((name) => `--exclude-dir=${name}`);
  const args = ['-rlwF', '--include=*.c', '--include=*.h', ...elsewhere, '-f', '-', '.'];
  const result = await edges.run('grep', args, {
    cwd: tree.source,
    stdin: `${words.join('\n')}\n`,
    env: { PATH: '/usr/bin:/bin', LANG: 'C', LC_ALL: 'C' },
    signal: edges.signal,
  });
  return result.stdout
    .toString('utf8')
    .split('\n')
    .map((line) => line.replace(/^\.\//, ''))
    .filter((path) => path !== '' && (!path.startsWith('arch/') || path.startsWith('arch/x86/')));
}
