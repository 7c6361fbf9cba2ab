import type { GuestResult } from '../guest.ts';
import type { Host } from '../host.ts';
import { BLOCKERS } from './blockers.ts';
import { ProofFailure } from './failure.ts';
import { PATIENCE_MS } from './patience.ts';

/** A livepatch module inside the guest. */
export interface GuestModule {
  readonly name: string;
  readonly path: string;
}

/** How the scripts below say what went wrong. */
const EXIT = { refused: 3, late: 4, busy: 5, notEnabled: 6 } as const;

const CLOCK = `now() { cut -d' ' -f1 /proc/uptime; }; begin=$(now); end=$((\${begin%.*} + $3)); d=/sys/kernel/livepatch/$1
late() { t=$(now); [ "\${t%.*}" -ge "$end" ]; }`;

/** $1 name, $2 path, $3 seconds. Prints when the transition began and ended. */
const LOAD = `
insmod "$2" || exit ${EXIT.refused}
${CLOCK}
while [ "$(cat "$d/transition")" != 0 ]; do late && exit ${EXIT.late}; sleep 0.1; done
[ "$(cat "$d/enabled")" = 1 ] || exit ${EXIT.notEnabled}
echo "$begin $(now)"
`;

/**
 * The same for the way back. The kernel takes the folder away when all is over (kernel/livepatch/core.c,
 * klp_free_patch_async).
 */
const REVERT = `
${CLOCK}
echo 0 >"$d/enabled" || exit ${EXIT.refused}
while [ -d "$d" ]; do late && exit ${EXIT.late}; sleep 0.1; done
echo "$begin $(now)"
`;

/**
 * $1 name. A livepatch that was replaced vanishes a moment after the transition; its module is released a moment
 * later.
 */
const UNLOAD = `
i=0; while [ -d "/sys/kernel/livepatch/$1" ]; do i=$((i + 1)); [ $i -gt 100 ] && exit ${EXIT.late}; sleep 0.1; done
i=0; until said=$(rmmod "$1" 2>&1); do i=$((i + 1)); [ $i -gt 50 ] && { echo "$said" >&2; exit ${EXIT.busy}; }; sleep 0.1; done
`;

/** Loads, reverts and unloads livepatches in a host, and keeps count of their transitions. */
export class LivepatchControl {
  readonly #host: Host;
  readonly #limit: number;
  /** Seconds each transition took. */
  readonly transitions: number[] = [];

  /** `limit`: seconds a transition may take. */
  constructor(host: Host, limit: number) {
    this.#host = host;
    this.#limit = limit;
  }

  /** Loads a livepatch and waits for the end of the transition. Seconds. */
  load(module: GuestModule): Promise<number> {
    return this.#transition(LOAD, module, 1);
  }

  /** Reverts a livepatch and waits for the end of the transition. Seconds. */
  revert(module: GuestModule): Promise<number> {
    return this.#transition(REVERT, module, 0);
  }

  /** Unloads the module of a livepatch that was reverted or replaced. */
  async unload({ name }: GuestModule): Promise<void> {
    const result = await this.#host.run(['/bin/sh', '-c', UNLOAD, 'sh', name], { timeoutMs: PATIENCE_MS });
    if (result.exitCode === EXIT.late) throw new ProofFailure(`${name} was replaced, but the kernel keeps it`);
    if (result.exitCode !== 0) throw new ProofFailure(`${name} cannot be unloaded: ${said(result)}`);
  }

  async #transition(script: string, { name, path }: GuestModule, target: 0 | 1): Promise<number> {
    const words = ['/bin/sh', '-c', script, 'sh', name, path, String(this.#limit)];
    const result = await this.#host.run(words, { timeoutMs: this.#limit * 1000 + PATIENCE_MS });
    const verb = target === 1 ? 'load' : 'revert';
    if (result.exitCode === EXIT.late) {
      const script = ['/bin/sh', '-c', BLOCKERS, 'sh', String(target)];
      const blockers = await this.#host.check(script, { timeoutMs: PATIENCE_MS });
      throw new ProofFailure(`the transition did not end within ${this.#limit} s`, [
        blockers === '' ? 'no task says that it is behind: one of the idle tasks may be' : 'tasks that hold it up:',
        ...blockers.split('\n').filter((line) => line !== ''),
      ]);
    }
    if (result.exitCode === EXIT.notEnabled) throw new ProofFailure(`${name} is loaded, but not enabled`);
    const times = /^([\d.]+) ([\d.]+)$/.exec(result.stdout.trim());
    if (result.exitCode !== 0 || times === null) {
      throw new ProofFailure(`the kernel refused to ${verb} ${name}: ${said(result)}`);
    }
    const seconds = Math.round((Number(times[2]) - Number(times[1])) * 100) / 100;
    this.transitions.push(seconds);
    return seconds;
  }
}

function said({ exitCode, stderr }: GuestResult): string {
  return stderr.trim() || `exit code ${exitCode}`;
}
