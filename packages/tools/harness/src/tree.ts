import { join } from 'node:path';
import { FIXES, FROM, KERNEL, SUITE, TO, TRIXIE } from './fixes.ts';
import { openWorkshop } from './open-lab.ts';
import type { Operator } from './operator.ts';

/** The kernel's prepared source, which the first fix that is compiled makes. */
export async function preparedTree(operator: Operator): Promise<string> {
  const workshop = openWorkshop(new AbortController().signal, undefined, { cache: operator.cache });
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  const kernel = await workshop.kernels.open(KERNEL);
  if ((await workshop.treeDirectory(kernel)) === undefined) {
    const range = ['--from', FROM, '--to', TO, '--suite', SUITE, '--path', FIXES[0].path];
    await operator.kmend('fix', 'import', '--id', 'prepares-the-tree', '--replace', ...range);
  }
  const directory = await workshop.treeDirectory(kernel);
  if (directory === undefined) throw new Error(`the import prepared no tree of ${KERNEL}`);
  return join(directory, 'source');
}

/**
 * The prepared source of Debian 13's kernel. From an empty cache: the kernel's packages, its build root and the tree,
 * some two to three minutes.
 */
export async function trixieTree(operator: Operator): Promise<string> {
  await operator.kmend('kernel', 'add', `${TRIXIE.suite}/${TRIXIE.kernel}`);
  const workshop = openWorkshop(new AbortController().signal, undefined, { cache: operator.cache });
  return (await workshop.builder(await workshop.kernels.open(TRIXIE.kernel))).sourceTree;
}
