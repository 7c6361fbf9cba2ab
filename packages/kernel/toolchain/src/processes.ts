import { readdirSync, readFileSync } from 'node:fs';
import { ControlGroup } from './control-group.ts';

/** Bounds the processes that a tool and all that it starts can be. */
export interface ProcessGuard {
  /** What stands in front of the tool's command. */
  readonly prefix: readonly string[];
  /** Whether the tool, which began as this process, has tried to have more. */
  isBroken(pid: number): boolean;
  end(): void;
}

/**
 * The kernel's limit of processes (`RLIMIT_NPROC`, setrlimit(2)), which holds for a user, does not for root: root
 * makes a control group for each tool. Where it cannot, as in some containers, the tool's processes are only counted.
 */
export function guardProcesses(limit: number): ProcessGuard {
  const group = process.getuid?.() === 0 ? ControlGroup.make(limit) : undefined;
  return group ?? new Counting(limit);
}

class Counting implements ProcessGuard {
  readonly prefix: readonly string[] = [];
  readonly #limit: number;
  readonly #before = threadsOfMachine();

  constructor(limit: number) {
    this.#limit = limit;
  }

  isBroken(pid: number): boolean {
    // What all processes of the machine are is one short read. Others may have ended meanwhile: half of the limit is
    // reason enough to count.
    return threadsOfMachine() - this.#before > this.#limit / 2 && countProcesses(pid) > this.#limit;
  }

  end(): void {}
}

/**
 * Processes that descend from one, itself left out (proc(5), `/proc/pid/stat`: the parent is the second field behind
 * the name).
 */
function countProcesses(ancestor: number): number {
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
