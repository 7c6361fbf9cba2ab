import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the controller of processes is: of the first version of control groups, and of the second (cgroups(7)). */
const PARENTS = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'];
/** Goes into the group, then becomes the tool. */
const ENTER = 'echo 0 >"$1/cgroup.procs" && shift && exec "$@"';

let number = 0;

/** A control group of one tool, in which no more than so many processes can be. */
export class ControlGroup {
  readonly prefix: readonly string[];
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.prefix = ['sh', '-c', ENTER, 'sh', directory];
  }

  /** `undefined` where this process may make none. */
  static make(limit: number): ControlGroup | undefined {
    for (const parent of PARENTS) {
      const directory = join(parent, `kmend-${process.pid}-${++number}`);
      try {
        if (number === 1) sweep(parent);
        mkdirSync(directory);
      } catch {
        continue;
      }
      try {
        writeFileSync(join(directory, 'pids.max'), String(limit), { flag: 'r+' });
        return new ControlGroup(directory);
      } catch {
        // Without the controller a group has no such file.
        rmdirSync(directory);
      }
    }
    return undefined;
  }

  isBroken(): boolean {
    return !/^max 0$/m.test(readFileSync(join(this.#directory, 'pids.events'), 'latin1'));
  }

  /** The tool has ended, and its namespace of processes with it; the last of them may not be gone yet. */
  end(left = 50): void {
    try {
      rmdirSync(this.#directory);
    } catch {
      if (left > 0) setTimeout(() => this.end(left - 1), 100);
    }
  }
}

/** Groups of runs of kmend that were killed. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(/^kmend-(\d+)-/.exec(name)?.[1] ?? 0);
    if (pid === 0 || isAlive(pid)) continue;
    try {
      rmdirSync(join(parent, name));
    } catch {
      // Another run was quicker.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
