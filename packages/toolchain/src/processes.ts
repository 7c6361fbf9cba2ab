import { readdirSync, readFileSync } from 'node:fs';

const EVERY_MS = 100;

/**
 * Calls `broken` once a tool has more processes than it may. The kernel's own limit does not hold for root (`RLIMIT_NPROC`, setrlimit(2)). What all
 * processes of the machine are is one short read; the tool's own are counted only when there are enough of those.
 */
export function watchProcesses(count: () => number, limit: number, broken: () => void): NodeJS.Timeout {
  const before = threadsOfMachine();
  const timer = setInterval(() => {
    // Others may have ended meanwhile: half of the limit is reason enough to count.
    if (threadsOfMachine() - before > limit / 2 && count() > limit) broken();
  }, EVERY_MS);
  return timer.unref();
}

/** Processes that descend from one, itself left out (proc(5), `/proc/pid/stat`: the parent is the second field behind the name). */
export function countProcesses(ancestor: number): number {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(/\) \S (\d+) /.exec(statOf(name))?.[1] ?? 0);
    const known = children.get(parent);
    if (known === undefined) children.set(parent, [Number(name)]);
    else known.push(Number(name));
  }
  let found = 0;
  const open = [ancestor];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const below = children.get(next) ?? [];
    found += below.length;
    open.push(...below);
  }
  return found;
}

function statOf(name: string): string {
  try {
    return readFileSync(`/proc/${name}/stat`, 'latin1');
  } catch {
    // It has ended.
    return '';
  }
}

/** proc(5), `/proc/loadavg`: behind the slash of the fourth field. */
function threadsOfMachine(): number {
  return Number(/\/(\d+) /.exec(readFileSync('/proc/loadavg', 'latin1'))?.[1] ?? 0);
}
