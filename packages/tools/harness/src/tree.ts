import { join } from 'node:path';
import { exists } from '@kmend/base/node';
import { FIXES, FROM, KERNEL, SUITE, TO } from './fixes.ts';
import type { Operator } from './operator.ts';

/** The kernel's prepared source, which the first fix that is compiled makes. */
export async function preparedTree(operator: Operator): Promise<string> {
  const directory = join(operator.cache, 'trees', KERNEL);
  if (!(await exists(join(directory, 'prepared')))) {
    await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
    const range = ['--from', FROM, '--to', TO, '--suite', SUITE, '--path', FIXES[0].path];
    await operator.kmend('fix', 'import', '--id', 'prepares-the-tree', '--replace', ...range);
  }
  return join(directory, 'source');
}
