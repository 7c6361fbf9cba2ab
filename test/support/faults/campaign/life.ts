import type { GuestResult } from '@kmend/lab';
import type { Journal } from '../../../../packages/agent/src/state/journal.ts';
import { parseJournal } from '../../../../packages/agent/src/state/store.ts';
import { layout } from '../layout.ts';
import { WITH_FAULTS } from '../shim.ts';
import { inForce, type Told } from './judge.ts';
import { type Observation, observe } from './observe.ts';
import type { Guest, Published, Rig } from './rig.ts';

/**
 * What a host goes through, over and over:
 * - load: nothing is in force, the policy wants serial 1
 * - replace: serial 1 is in force, the policy wants serial 2
 * - revert: something is in force, a person takes it out
 * - boot: something good was in force, the host was switched off and on
 */
export const PHASES = ['load', 'replace', 'revert', 'boot'] as const;
export type Phase = (typeof PHASES)[number];

const ORDER = { load: 'check', replace: 'check', revert: 'revert' } as const;
const ORDER_MS = 240_000;

/** Waits until systemd has the resident units up again, for at most $1 seconds. */
const UNTIL_ACTIVE = `
end=$(($(cut -d. -f1 /proc/uptime) + $1)); shift
for unit in "$@"; do until systemctl is-active --quiet "$unit"; do
  [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || { systemctl status "$unit" >&2; exit 1; }
  sleep 0.2
done; done`;

/** Leads one guest through the phases, and always knows what the policy wants of it. */
export class Life {
  readonly guest: Guest;
  readonly #rig: Rig;
  #wanted: Published;
  /** What was seen last, where nothing has been asked of the host since. */
  #known: Observation | undefined;

  constructor(rig: Rig, guest: Guest) {
    this.#rig = rig;
    this.guest = guest;
    this.#wanted = serial(rig, 1);
  }

  /** What the policy wants now. */
  get wanted(): Published {
    return this.#wanted;
  }

  get published(): readonly Published[] {
    return this.#rig.published;
  }

  /** Brings the host to where the phase begins, by the agent's own commands. */
  async bring(phase: Phase): Promise<void> {
    if (phase === 'load') {
      await this.choose(1);
      const known = this.#known ?? (await this.look());
      if (known.after.some((it) => it.enabled)) await this.must('revert');
      await this.must('resume');
    } else {
      const known = this.#known ?? (await this.look());
      const one = serial(this.#rig, 1);
      const settled = phase === 'replace' ? inForce(known.after, one.module) : this.isSettled(known);
      if (!settled && phase === 'replace') {
        await this.bring('load');
        await this.must('check');
      } else if (!settled) {
        await this.must('resume');
        await this.must('check');
      }
      if (phase === 'replace') await this.choose(2);
    }
    this.#known = undefined;
  }

  /** The policy's livepatch is in force, and nothing is held back. */
  isSettled(known: Observation): boolean {
    return inForce(known.after, this.#wanted.module) && known.claims?.hold === null && known.claims.state === 'good';
  }

  async choose(number: number): Promise<void> {
    const wanted = serial(this.#rig, number);
    if (wanted !== this.#wanted || this.#known === undefined) await this.#rig.choose(number);
    this.#wanted = wanted;
  }

  /** The policy wants what was just published. */
  publishedAnew(added: Published): void {
    this.#wanted = added;
    this.#known = undefined;
  }

  /** Lays configuration over the agent's, and has it taken up. */
  async configure(change: Readonly<Record<string, unknown>>): Promise<void> {
    const { host } = this.guest;
    await host.copyIn(Buffer.from(JSON.stringify(change)), '/etc/kmend-agent/config.d/90-faults.json');
    await host.check(`systemctl restart ${layout.acting.join(' ')}`, { timeoutMs: 120_000 });
    this.#known = undefined;
  }

  /** Does something to the state folder ($1, for the shell) while nothing of the agent runs. */
  async stopped(script: string): Promise<void> {
    const { host } = this.guest;
    const whole = `systemctl stop ${layout.acting.join(' ')}; { ${script}; }; done=$?
systemctl reset-failed; systemctl start ${layout.resident.join(' ')}; exit $done`;
    await host.check(['/bin/sh', '-c', whole, 'sh', layout.state], { timeoutMs: 180_000 });
    this.#known = undefined;
  }

  /** Does what the phase is about; whatever comes of it. Not for `boot`: that is for whoever holds the switch. */
  order(phase: Exclude<Phase, 'boot'>): Promise<GuestResult> {
    return this.ask(ORDER[phase]);
  }

  ask(...words: string[]): Promise<GuestResult> {
    this.#known = undefined;
    return this.guest.host.run([...WITH_FAULTS, 'kmend-agent', ...words, '--json'], { timeoutMs: ORDER_MS });
  }

  async must(...words: string[]): Promise<void> {
    const { exitCode, stdout, stderr } = await this.ask(...words);
    if (exitCode !== 0) throw new Error(`kmend-agent ${words.join(' ')} ended with ${exitCode}: ${stdout}${stderr}`);
  }

  /** Waits until the agent's resident units run again. */
  async untilActive(seconds = 60): Promise<void> {
    await this.guest.host.check(['/bin/sh', '-c', UNTIL_ACTIVE, 'sh', String(seconds), ...layout.resident], {
      timeoutMs: (seconds + 30) * 1000,
    });
  }

  /** What the server shows of this host. */
  async told({ claims }: Observation): Promise<Told | undefined> {
    if (claims === undefined) return undefined;
    const { status, effectiveSerial } = await this.#rig.api.showHost(claims.hostId);
    return { loaded: status.loaded.state, transition: status.transition.state, effectiveSerial };
  }

  async look(): Promise<Observation> {
    this.#known = await observe(this.guest.host, this.guest.reproducer);
    return this.#known;
  }
}

export function journalOf(seen: Observation): Journal | undefined {
  if (seen.journal === undefined || seen.journalProblem !== undefined) return undefined;
  const parsed = parseJournal(seen.journal);
  return parsed.ok ? parsed.journal : undefined;
}

function serial(rig: Rig, number: number): Published {
  const found = rig.published.find((it) => it.serial === number);
  if (found === undefined) throw new Error(`serial ${number} is not published`);
  return found;
}
