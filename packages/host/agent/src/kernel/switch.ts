import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';

/** Why nothing may be loaded in this boot: the word `kmend=off` on the kernel's command line, or the file switch. */
export async function switchedOff(edges: Edges): Promise<string | undefined> {
  const words = ((await edges.files.text('/proc/cmdline')) ?? '').trim().split(/\s+/);
  // As the kernel takes its own parameters: the last one counts.
  const word = words.findLast((it) => it.startsWith('kmend='));
  if (word === 'kmend=off') return 'kmend=off on the kernel command line';
  return (await edges.files.text(paths.off)) === undefined ? undefined : `${paths.off} is there`;
}
