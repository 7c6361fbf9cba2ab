import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Edges, parseJson } from '@kmend/base';
import { exists, sha256, writeFileAtomic } from '@kmend/base/node';
import { moduleFiles } from '@kmend/kernel';
import { z } from 'zod';
import { confinedMake } from '../confine.ts';
import { BuilderError } from '../error.ts';
import { type LinkedObject, linkedObjects, parseLists } from './lists.ts';
import { oncePerTree } from './once.ts';
import { type PreparedTree, treeArguments } from './tree.ts';

/** Makefiles that ask a tree; the tree's own are included by them. */
export const KBUILD = fileURLToPath(new URL('kbuild', import.meta.url));

const LIST_LIMIT_MS = 5 * 60_000;

const Built = z.record(z.string(), z.array(z.object({ target: z.string(), object: z.string() })));

/**
 * C files of the tree that are linked into vmlinux or a shipped module of this kernel: path to the objects that hold
 * them.
 */
export const builtSources = oncePerTree(async (edges, tree): Promise<ReadonlyMap<string, readonly string[]>> => {
  const names = new Map<string, readonly string[]>();
  for (const [source, linked] of await linkedSources(edges, tree))
    names.set(source, [...new Set(linked.map(({ object }) => object))]);
  return names;
});

/**
 * The same, with what Kbuild calls each object file. That Kbuild has a rule does not mean that the kernel has it: its
 * rule for single files compiles what the configuration leaves out, too (drivers/gpu/drm/vc4/vc4_gem.c on amd64). Found
 * once a tree.
 */
export const linkedSources = oncePerTree(async (edges, tree): Promise<ReadonlyMap<string, readonly LinkedObject[]>> => {
  const asking = await Promise.all(['tree.mk', 'lists.mk'].map((name) => readFile(join(KBUILD, name), 'utf8')));
  const path = join(tree.directory, `built-${sha256(asking.join('')).slice(0, 12)}.json`);
  const known = Built.safeParse(parseJson(await readFile(path, 'utf8').catch(() => '')));
  if (known.success) return new Map(Object.entries(known.data));
  const built = new Map<string, LinkedObject[]>();
  const modules = await moduleFiles(tree.kernel);
  for (const linked of await askLists(edges, tree)) {
    if (linked.object !== 'vmlinux' && !modules.has(linked.object)) continue;
    const source = normalize(linked.target.replace(/\.o$/, '.c'));
    if (!built.has(source) && !(await exists(join(tree.source, source)))) continue;
    built.set(source, [...(built.get(source) ?? []), linked]);
  }
  await writeFileAtomic(path, JSON.stringify(Object.fromEntries(built)));
  return built;
});

/** Modules that the configuration makes; also those that were not shipped. */
export async function configuredModules(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
): Promise<ReadonlySet<string>> {
  const objects = (await askLists(edges, tree)).map(({ object }) => object);
  return new Set(objects.filter((object) => object !== 'vmlinux'));
}

async function askLists(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
): Promise<LinkedObject[]> {
  edges.progress.step(`find what ${tree.kernel.release} is built from`);
  // Without that word the tree's Makefile (since 6.10) begins a second make, of itself alone.
  const args = [
    '-s',
    '--no-print-directory',
    '-C',
    tree.source,
    '-f',
    join(KBUILD, 'tree.mk'),
    ...treeArguments(tree),
    'kmend-lists',
  ];
  const options = { signal: edges.signal, timeoutMs: LIST_LIMIT_MS, maxOutput: 64 << 20 };
  const { stdout, stderr } = await confinedMake(edges.run, tree.root, tree.directory, [KBUILD])('make', args, options);
  const lists = parseLists(stdout.toString('utf8'));
  if (lists === undefined) {
    const said = stderr.trim().split('\n').slice(-6).join('\n');
    throw new BuilderError('tree-failed', `Kbuild does not say what ${tree.kernel.release} is built from:\n${said}`);
  }
  return linkedObjects(lists);
}
