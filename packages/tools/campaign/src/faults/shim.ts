import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import type { Host } from '@kmend/lab';
import { layout } from './layout.ts';

const SOURCE = join(import.meta.dirname, 'shim.c');
const FLAGS = ['-shared', '-fPIC', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];
const LIBRARY = '/usr/local/lib/kmend-fault.so';
/** On the disk, so that it stands over a power cut. */
const PLAN = '/var/lib/kmend-fault/plan';
/** Not on the disk: what is written there makes nothing of the agent's durable. */
const RUNTIME = '/run/kmend-fault';
/** The kernel argument with which a boot is left in peace, whatever plan is on the disk. */
export const PEACE = 'labfault=off';
/** How a stop announces itself on the serial console. */
export const STOPPED = /kmend-fault: stop at (.*)/;

/**
 * What the agent still does after an order was answered (a load, the soak's end, a report) is over within so many
 * seconds.
 */
const AFTERMATH_S = 180;
/**
 * The agent is at rest when none of its processes was seen so many times, in so many seconds: units hand over to each
 * other.
 */
const REST = { looks: 5, seconds: 2.5 } as const;
/** The step has come. */
const STRUCK = `[ -s ${RUNTIME}/fired ]`;

/**
 * Waits until $2 holds, the agent is at rest ($3: at so many looks; 0: that is not asked), or $1 seconds are over.
 * Without a program of its own: on an emulated processor each one takes from the agent what it is being waited for.
 */
const WAIT = `
exec 9<> <(:)
up() { read -r now rest </proc/uptime; now=\${now%.*}; }
busy() { for process in /proc/[0-9]*; do [ "$process/exe" -ef ${layout.node} ] && return 0; done; return 1; }
up; end=$((now + $1)); quiet=0
until eval "$2" || { [ "$3" -gt 0 ] && [ "$quiet" -ge "$3" ]; }; do
  up; [ "$now" -lt "$end" ] || break
  if [ "$3" -eq 0 ] || busy; then quiet=0; else quiet=$((quiet + 1)); fi
  read -r -t ${REST.seconds / REST.looks} -u 9
done
:`;

/** What is to happen at which step; see shim.c. */
export interface Plan {
  readonly mode: 'trace' | 'kill' | 'stop' | 'error';
  /** The first argument of the process; absent: any. */
  readonly role?: string;
  /** The n-th step since the plan was laid. */
  readonly n?: number;
  /** Or the `nth` (default 1) step that fits these patterns (fnmatch). */
  readonly op?: string;
  readonly path?: string;
  readonly nth?: number;
  readonly when?: 'before' | 'after';
  /** For `error`: the number that the call fails with. */
  readonly errno?: number;
  /** That step alone, or all from there on until the plan is lifted. */
  readonly span?: 'one' | 'all';
  /** A write takes half of its bytes before it fails. */
  readonly short?: 1;
}

/** One call of the agent that changes the disk or the kernel. */
export interface TracedStep {
  readonly n: number;
  readonly role: string;
  readonly op: string;
  readonly path: string;
}

/** Where the library finds everything. */
export interface Setting {
  readonly node: string;
  readonly library: string;
  readonly plan: string;
  readonly runtime: string;
  /** Calls below these paths are steps. */
  readonly watched: readonly string[];
}

/** Compiles the library to `out`. */
export async function compileShim(out: string, setting: Setting): Promise<void> {
  const { node, library, plan, runtime, watched } = setting;
  const words = { AGENT_NODE: node, LIBRARY: library, PLAN: plan, DIRECTORY: runtime };
  const defined = Object.entries(words).map(([name, value]) => `-D${name}=${JSON.stringify(value)}`);
  const list = watched.map((path) => JSON.stringify(path)).join(', ');
  await runOk(run, 'gcc', [...FLAGS, ...defined, `-DWATCHED=${list}`, '-o', out, SOURCE, '-ldl']);
}

/** A plan as the library reads it. */
export function planText(plan: Plan): string {
  return Object.entries(plan)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

/** The faults' library inside a host, and the plan it acts by. */
export class Faults {
  readonly #host: Host;

  private constructor(host: Host) {
    this.#host = host;
  }

  /**
   * Compiles the library, brings it in, and has every program load it: it sleeps in all but the agent's, which take no
   * LD_PRELOAD. The units must be started again after that.
   */
  static async install(host: Host): Promise<Faults> {
    const work = await mkdtemp(join(tmpdir(), 'kmend-faults-'));
    try {
      const out = join(work, 'fault.so');
      await compileShim(out, {
        node: layout.node,
        library: LIBRARY,
        plan: PLAN,
        runtime: RUNTIME,
        watched: layout.watched,
      });
      await host.copyIn(await readFile(out), LIBRARY, 0o755);
      await host.copyIn(Buffer.from(`${LIBRARY}\n`), '/etc/ld.so.preload');
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    const tmpfiles = `d ${RUNTIME} 0777 root root -\nd ${RUNTIME}/handed 0777 root root -\n`;
    await host.copyIn(Buffer.from(tmpfiles), '/etc/tmpfiles.d/kmend-fault.conf');
    const lines = (more: string): Buffer =>
      // Not after systemd-tmpfiles-setup.service: with /var on the network that is a cycle which the agent's own units
      // do not have.
      Buffer.from(`[Service]
ExecStartPre=+-/usr/bin/systemd-tmpfiles --create /etc/tmpfiles.d/kmend-fault.conf
ReadWritePaths=-${RUNTIME}
${more}`);
    for (const unit of layout.units) {
      const acts = (layout.acting as readonly string[]).includes(unit);
      await host.copyIn(lines(acts ? 'RestartSec=1\n' : ''), `/etc/systemd/system/${unit}.d/90-fault.conf`);
    }
    // A host that is killed over and over is what is wanted here: systemd must not lose its patience.
    await host.check(`mkdir -p /var/lib/kmend-fault && systemd-tmpfiles --create /etc/tmpfiles.d/kmend-fault.conf
      for unit in ${layout.acting.join(' ')}; do
        printf '[Unit]\\nStartLimitIntervalSec=0\\n' >/etc/systemd/system/$unit.d/91-fault.conf
      done
      systemctl daemon-reload`);
    return new Faults(host);
  }

  /**
   * Lays a plan: steps are counted from now on. It is on the disk when this resolves, so that it stands over a power
   * cut.
   */
  async arm(plan: Plan): Promise<void> {
    const script = `rm -f ${RUNTIME}/trace ${RUNTIME}/fired; printf '%s\\n' "$1" >${PLAN}.new && mv ${PLAN}.new ${PLAN} && sync`;
    await this.#host.check(['/bin/sh', '-c', script, 'sh', planText(plan)]);
  }

  async lift(): Promise<void> {
    await this.#host.check(`rm -f ${PLAN} && sync ${PLAN.slice(0, PLAN.lastIndexOf('/'))}`);
  }

  /** What happened until now, in the library's own words; empty: the step has not come yet. */
  async fired(): Promise<string[]> {
    return linesOf(await this.#host.check(`cat ${RUNTIME}/fired 2>/dev/null || :`));
  }

  /** Waits until the step has come, or the agent is at rest and it comes no more. What happened. */
  async struck(): Promise<string[]> {
    await this.#wait(STRUCK, AFTERMATH_S, REST.looks);
    return await this.fired();
  }

  /** Waits for the step for at most so many seconds, whatever the agent does. What happened. */
  async struckWithin(seconds: number): Promise<string[]> {
    await this.#wait(STRUCK, seconds, 0);
    return await this.fired();
  }

  /** Waits until the agent is at rest. */
  async rest(): Promise<void> {
    await this.#wait('false', AFTERMATH_S, REST.looks);
  }

  async #wait(end: string, seconds: number, looks: number): Promise<void> {
    await this.#host.check(['/bin/bash', '-c', WAIT, 'bash', String(seconds), end, String(looks)], {
      timeoutMs: 2 * AFTERMATH_S * 1000,
    });
  }

  /** Every step since the plan was laid (of this boot). */
  async trace(): Promise<TracedStep[]> {
    const text = await this.#host.check(`cat ${RUNTIME}/trace 2>/dev/null || :`);
    return linesOf(text).map((line) => {
      const [n, role, op, ...path] = line.split(' ');
      return { n: Number(n), role: role ?? '', op: op ?? '', path: path.join(' ') };
    });
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
