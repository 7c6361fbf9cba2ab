import { link, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Edges, errorCode } from '@kmend/base';
import { exists, withLock } from '@kmend/base/node';
import { confinedMake } from '../confine.ts';
import { noteMade } from '../tree/made-later.ts';
import { type PreparedTree, treeArguments } from '../tree/tree.ts';
import type { KnownUnit } from '../tree/unit.ts';

const MAKE_LIMIT_MS = 10 * 60_000;

/**
 * The file that a compiler did not find, from its error. Only names below the including folder: Kbuild makes no others.
 */
export function missingFile(errors: string): string | undefined {
  const name = /fatal error: ([\w./-]+): No such file or directory/.exec(errors)?.[1];
  return name === undefined || name.startsWith('/') || name.split('/').includes('..') ? undefined : name;
}

/**
 * Has Kbuild make a file that a unit includes and that `make prepare` leaves out, such as security/selinux/flask.h or
 * the tables of an ASN.1 grammar: it is made before the unit's own object, which is why that is what Kbuild is asked
 * for. In a folder with changed headers the file is linked from the tree. False where that brings nothing: the name is
 * not one that Kbuild makes.
 */
export async function generateFor(
  edges: Pick<Edges, 'run' | 'signal'>,
  tree: PreparedTree,
  unit: KnownUnit,
  name: string,
  root: string,
): Promise<boolean> {
  let path = await placeOf(tree, unit, name);
  const wasThere = path !== undefined;
  if (!wasThere) {
    const goal = unit.spelling.replace(/\.c$/, '.o');
    const args = ['-s', '-C', tree.source, ...treeArguments(tree), goal];
    await withLock(
      join(tree.directory, '.generate.lock'),
      () =>
        confinedMake(edges.run, tree.root, tree.directory)('make', args, {
          signal: edges.signal,
          timeoutMs: MAKE_LIMIT_MS,
        }),
      { signal: edges.signal },
    );
    path = await placeOf(tree, unit, name);
  }
  if (path === undefined) return false;
  if (!wasThere) await noteMade(tree, path);
  if (root === tree.source) return !wasThere;
  const to = join(root, path);
  if (await exists(to)) return false;
  await mkdir(dirname(to), { recursive: true });
  await link(join(tree.source, path), to).catch((error: unknown) => {
    // Another build of the same headers was quicker.
    if (errorCode(error) !== 'EEXIST') throw error;
  });
  return true;
}

/**
 * Where the tree has a file of that name: beside the unit, or in a folder above (security/selinux/ss includes flask.h).
 */
async function placeOf(tree: PreparedTree, unit: KnownUnit, name: string): Promise<string | undefined> {
  for (let folder = dirname(unit.source); folder !== '.'; folder = dirname(folder)) {
    const path = join(folder, name);
    if (await exists(join(tree.source, path))) return path;
  }
  return undefined;
}
