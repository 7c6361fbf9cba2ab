import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { parseJson, type Run } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';

/** Beside the source: which C files include which C files is found once a tree. */
const KEPT = 'c-includes.json';
/** Folders of a kernel tree that x86 kernels are built from. */
const FOLDERS = 'arch/x86 block certs crypto drivers fs init io_uring ipc kernel lib mm net security sound virt'.split(
  ' ',
);

/**
 * C files of a tree that include other C files: the included one to all that include it, directly or through others.
 */
export async function cIncluders(run: Run, tree: string): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const direct = (await kept(tree)) ?? (await scan(run, tree));
  const includers = new Map<string, string[]>();
  for (const [includer, path] of direct) {
    const there = includers.get(path);
    if (there === undefined) includers.set(path, [includer]);
    else there.push(includer);
  }
  const found = new Map<string, Set<string>>();
  for (const included of includers.keys()) {
    const all = new Set<string>();
    const waiting = [included];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      for (const includer of includers.get(next) ?? []) {
        if (all.has(includer)) continue;
        all.add(includer);
        waiting.push(includer);
      }
    }
    found.set(included, all);
  }
  return found;
}

type Pair = readonly [includer: string, included: string];

async function kept(tree: string): Promise<Pair[] | undefined> {
  const text = await readFile(join(dirname(tree), KEPT), 'utf8').catch(() => '');
  const value = parseJson(text);
  return Array.isArray(value) ? (value as Pair[]) : undefined;
}

async function scan(run: Run, tree: string): Promise<Pair[]> {
  const pattern = '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<][^">]*\\.c[">]';
  const args = ['-rsEo', '--include=*.c', pattern, ...FOLDERS];
  // grep says 1 where nothing is found, 2 where a folder is missing.
  const { stdout } = await run('grep', args, { cwd: tree, timeoutMs: 120_000 });
  const pairs: Pair[] = [];
  for (const line of stdout.toString('latin1').split('\n')) {
    const [, includer, name] = /^([^:]+\.c):.*["<]([^">]+)$/.exec(line.replace(/[">]\s*$/, '')) ?? [];
    if (includer === undefined || name === undefined) continue;
    for (const root of [dirname(includer), '', 'include']) pairs.push([includer, normalize(join(root, name))]);
  }
  await writeFileAtomic(join(dirname(tree), KEPT), `${JSON.stringify(pairs)}\n`);
  return pairs;
}
