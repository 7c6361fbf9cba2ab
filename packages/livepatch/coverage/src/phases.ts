/**
 * The phases of a livepatch's transition with their times, from the kernel's messages (kernel/livepatch/transition.c,
 * with its debug messages on).
 */
export interface Phases {
  /** Redirecting the functions, before any task switches; 0 at a revert. */
  readonly prepare: number;
  /** Until every task has switched. */
  readonly tasks: number;
  /** At a revert: until the kernel has released the last function; it waits for grace periods of RCU for each. */
  readonly finish: number;
}

/** For a shell in the guest, before the transition. */
export const SAY_PHASES = "echo 'file kernel/livepatch/transition.c +p' >/sys/kernel/debug/dynamic_debug/control";

/** Seconds of the last whole transition of livepatch `name` in the log; `undefined` when it is not all there. */
export function phasesOf(log: string, name: string, direction: 'patching' | 'unpatching'): Phases | undefined {
  const text = `livepatch: '${name}': `;
  const lines = log.split('\n').filter((line) => line.includes(text));
  const at = (words: string): number => {
    const line = lines.findLast((candidate) => candidate.endsWith(text + words));
    return Number(/^\[\s*(\d+\.\d+)\]/.exec(line ?? '')?.[1] ?? Number.NaN);
  };
  const times = [
    at(`initializing ${direction} transition`),
    at(`starting ${direction} transition`),
    at(`completing ${direction} transition`),
    at(`${direction} complete`),
  ] as const;
  const [prepare, tasks, finish] = [times[1] - times[0], times[2] - times[1], times[3] - times[2]].map(
    (seconds) => Math.round(seconds * 1000) / 1000,
  );
  // In order, or they are of several transitions of which the last has not ended.
  if (prepare === undefined || tasks === undefined || finish === undefined) return undefined;
  return prepare >= 0 && tasks >= 0 && finish >= 0 ? { prepare, tasks, finish } : undefined;
}
