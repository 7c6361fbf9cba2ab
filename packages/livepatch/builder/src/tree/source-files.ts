import type { Edges } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import type { PreparedTree } from './tree.ts';

const LISTING_LIMIT = 256 << 20;
/** Nothing of an x86 kernel includes from there. Other architectures' folders are left out as well. */
export const ELSEWHERE: readonly string[] = ['Documentation', 'tools', 'samples', 'scripts'];

/** C files, headers and assembler of a tree, without these folders and those of other architectures. */
export async function sourceFiles(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
  elsewhere: readonly string[],
): Promise<string[]> {
  const skip = elsewhere.flatMap((name) => ['-path', `./${name}`, '-o']);
  // Kbuild's scripts make and remove `.tmp_<pid>` while another build asks them about the compiler.
  const args = [
    '.',
    '-ignore_readdir_race',
    '(',
    ...skip,
    '-name',
    '.tmp_*',
    '-o',
    '-path',
    './arch/*',
    '!',
    '-path',
    './arch/x86*',
    ')',
    '-prune',
    '-o',
  ];
  args.push('-type', 'f', '(', '-name', '*.[chS]', '-o', '-name', '*.inc', ')', '-print');
  const stdout = await runOk(edges.run, 'find', args, {
    cwd: tree.source,
    signal: edges.signal,
    maxOutput: LISTING_LIMIT,
  });
  return stdout
    .toString('latin1')
    .split('\n')
    .filter((path) => path !== '')
    .map((path) => path.slice(2));
}
