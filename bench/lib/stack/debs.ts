import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operator } from '@kmend/harness';

export interface Debs {
  readonly loader: string;
  /** From the bottom. */
  readonly stacked: readonly string[];
  readonly cumulative: string;
}

/**
 * The packages of a depot that has this stack, and then the cumulative livepatch in its place. The depot goes with its
 * operator.
 */
export async function packagesOf(operator: Operator, stack: readonly string[], cumulative: string): Promise<Debs> {
  const url = ['--url', 'https://packages.invalid/packages'];
  await operator.kmend(
    'repo',
    'packages',
    'init',
    '--origin',
    'Bench',
    '--maintainer',
    'Bench <bench@example.org>',
    ...url,
  );
  await operator.kmend('repo', 'packages', 'add', '--unproven', ...stack, cumulative);
  const { out } = await operator.kmend<{ out: string }>('repo', 'apt', '--no-upload');
  const pool = join(out, 'pool');
  const files = (await readdir(pool, { recursive: true })).filter((name) => name.endsWith('.deb'));
  const only = (pattern: RegExp): string => {
    const found = files.filter((name) => pattern.test(name));
    if (found.length !== 1) throw new Error(`${found.length} packages are like ${pattern}`);
    return join(pool, found[0] ?? '');
  };
  return {
    loader: only(/kmend-livepatch_/),
    stacked: stack.map((_, index) => only(new RegExp(`-layer-${index + 1}_`))),
    cumulative: only(/-cumulative_/),
  };
}
