import type { Blocker } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';

const MAX_BLOCKERS = 20;

/**
 * Tasks that hold a transition up: `/proc/<pid>/task/<tid>/patch_state` differs from the target, 1 while a livepatch
 * comes into force and 0 while one goes (Documentation/livepatch/livepatch.rst, "Consistency model").
 */
export async function blockingTasks(edges: Edges, target: 0 | 1): Promise<Blocker[]> {
  const blockers: Blocker[] = [];
  for (const pid of (await edges.files.names('/proc')) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    for (const tid of (await edges.files.names(`/proc/${pid}/task`)) ?? []) {
      const directory = `/proc/${pid}/task/${tid}`;
      const state = await quietly(edges.files.text(`${directory}/patch_state`));
      if (state === undefined || state.trim() === '-1' || state.trim() === String(target)) continue;
      const name = (await quietly(edges.files.text(`${directory}/comm`)))?.trim() ?? '?';
      const stack = (await quietly(edges.files.text(`${directory}/stack`))) ?? '';
      blockers.push({ pid: Number(pid), tid: Number(tid), name: name.slice(0, 64), stack: functionsOf(stack) });
      if (blockers.length === MAX_BLOCKERS) return blockers;
    }
  }
  return blockers;
}

/** A task may end, or be out of reach, while it is looked at. */
async function quietly(text: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await text;
  } catch {
    return undefined;
  }
}

function functionsOf(stack: string): string[] {
  const names = stack.split('\n').flatMap((line) => /^\[<\w+>\] ([^+\s]{1,512})/.exec(line)?.[1] ?? []);
  return names.slice(0, 64);
}

/** One line for people: `sshd (812: do_wait < kernel_wait4), …`. */
export function describeBlockers(blockers: readonly Blocker[]): string {
  if (blockers.length === 0) return 'no task says that it is behind';
  return blockers
    .map(({ name, tid, stack }) => `${name} (${tid}${stack.length > 0 ? `: ${stack.slice(0, 4).join(' < ')}` : ''})`)
    .join(', ');
}
