import { findTree } from '@kmend/builder';
import { FIXES, FROM, KERNEL, SUITE, TO } from '../../demo/fixes.ts';
import { openLab } from '../../demo/open-lab.ts';
import type { Operator } from '../../demo/operator.ts';

/** The kernel's prepared source, which the first fix that is compiled makes. */
export async function preparedTree(operator: Operator): Promise<string> {
  const { kernels } = openLab(operator.cache, new AbortController().signal);
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  const kernel = await kernels.open(KERNEL);
  const known = await findTree(operator.cache, kernel);
  if (known !== undefined) return known.source;
  const range = ['--from', FROM, '--to', TO, '--suite', SUITE, '--path', FIXES[0].path];
  await operator.kmend('fix', 'import', '--id', 'prepares-the-tree', '--replace', ...range);
  const made = await findTree(operator.cache, kernel);
  if (made === undefined) throw new Error(`the import prepared no tree of ${KERNEL}`);
  return made.source;
}
