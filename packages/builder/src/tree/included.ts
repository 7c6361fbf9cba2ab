import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { parseJson } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import type { PreparedTree, TreeEdges } from './prepare.ts';

const Included = z.record(z.string(), z.array(z.string()));

/** C files that others include, so that they are no units of their own (`kernel/sched/rt.c`), to the files that include them. */
export async function includedSources(edges: TreeEdges, tree: PreparedTree): Promise<ReadonlyMap<string, string[]>> {
  const path = join(tree.directory, 'included.json');
  const known = Included.safeParse(parseJson(await readFile(path, 'utf8').catch(() => '')));
  if (known.success) return new Map(Object.entries(known.data));
  edges.progress.step(`find the C files that others include (${tree.kernel.release})`);
  const args = ['-rE', '--include=*.c', '--exclude-dir=tools', '^#[[:space:]]*include[[:space:]]+"[^"]+\\.c"', '.'];
  const result = await edges.run('grep', args, { cwd: tree.source, signal: edges.signal });
  const found = new Map<string, string[]>();
  for (const line of result.stdout.toString('latin1').split('\n')) {
    const [, includer, name] = /^\.\/([^:]+):#\s*include\s+"([^"]+)"/.exec(line) ?? [];
    if (includer === undefined || name === undefined) continue;
    const target = normalize(join(dirname(includer), name));
    found.set(target, [...(found.get(target) ?? []), includer]);
  }
  await writeFileAtomic(path, JSON.stringify(Object.fromEntries(found)));
  return found;
}
