import { setTimeout as sleep } from 'node:timers/promises';
import { type Journal, parseJournal } from '@kmend/agent/journal';
import type { GuestResult } from '@kmend/lab';
import { layout } from './faults/layout.ts';
import { standing, type Told, toldTooMuch } from './judge.ts';
import { type Observation, observe } from './observe.ts';
import type { Guest, Published, Rig } from './rig.ts';

/**
 * What a host goes through, over and over; the policy wants serial 2 all the while:
 * - load: nothing is in force
 * - replace: serial 1 is in force
 * - revert: serial 2 is in force, a person takes it out
 * - boot: serial 2 was in force and good, the host was switched off and on
 */
export const PHASES = ['load', 'replace', 'revert', 'boot'] as const;
export type Phase = (typeof PHASES)[number];

/**
 * Who has it loaded:
 * - resume: an administrator lifts a hold, and the loader continues with what was fetched before
 * - check: the fetcher, which finds newer signed metadata and fetches the livepatch again
 */
export type Way = 'resume' | 'check';

const ORDER_MS = 240_000;
/** The moment at which what the policy wants is in force and good. */
const SETTLED = 'settled';
const REPORT_MS = 90_000;

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
  /** The moments that the host can go back to, and what the server had been told by then. */
  readonly #saved = new Map<string, Told | undefined>();
  /** When the host last went back to a moment, and to which: what the server was told in between no longer counts. */
  #back: { readonly at: number; readonly told: Told | undefined } | undefined;

  constructor(rig: Rig, guest: Guest) {
    this.#rig = rig;
    this.guest = guest;
    this.#wanted = serial(rig, 2);
  }

  /** What the policy wants now. */
  get wanted(): Published {
    return this.#wanted;
  }

  get published(): readonly Published[] {
    return this.#rig.published;
  }

  /** The first check of a host: it has what the policy wants, and has met the older one. */
  async begin(): Promise<void> {
    await this.must('check');
    await this.#save(SETTLED);
  }

  /**
   * Brings the host to where the phase begins. It is led there by the agent's own commands once; from then on it goes
   * back to that very moment, memory and disk. `repository`: a mirror to take everything from.
   */
  async bring(phase: Phase, way: Way, repository?: string): Promise<void> {
    const name = `${phase === 'boot' || phase === 'revert' ? SETTLED : `${phase}-${way}`}${repository === undefined ? '' : '-mirrored'}`;
    if (this.#saved.has(name)) await this.#restore(name);
    else {
      await this.#restore(SETTLED);
      await this.#lead(phase, way, repository);
      await this.#save(name);
    }
    this.#known = undefined;
  }

  async #lead(phase: Phase, way: Way, repository: string | undefined): Promise<void> {
    if (repository !== undefined) await this.configure({ repository });
    const fetches = way === 'check' && (phase === 'load' || phase === 'replace');
    // What is requested by number is held. One that is to be fetched again leaves another in the cache, to be
    // re-applied at boot.
    if (phase === 'replace' || fetches) await this.must('apply', '--serial', '1');
    if (phase === 'load') await this.must('revert');
    if (fetches) {
      await this.#forget();
      await this.must('resume');
    }
  }

  async #restore(name: string): Promise<void> {
    await this.guest.host.restore(name);
    this.#back = { at: Date.now(), told: this.#saved.get(name) };
  }

  /** The moment is a quiet one: nothing of the agent is at work, every report is through. */
  async #save(name: string): Promise<void> {
    const { host } = this.guest;
    const seen = await this.look();
    if (seen.claims === undefined) throw new Error(`no status before ${name} is saved: ${seen.said}`);
    await host.check(`until ! pidof ${layout.node} >/dev/null; do sleep 0.5; done; sync`, { timeoutMs: 180_000 });
    await host.save(name);
    this.#saved.set(name, await this.toldInTime(seen));
  }

  /** Newer metadata is signed, and the host has what the policy wants of it no more. */
  async #forget(): Promise<void> {
    await this.#rig.signAnew();
    const wanted = layout.caches.map((path) => `${path}/targets/kernels/*/${this.#wanted.serial}`);
    await this.guest.host.check(`rm -r ${wanted.join(' ')}`);
  }

  /** The policy wants a serial. */
  async choose(number: number): Promise<void> {
    this.#wanted = serial(this.#rig, number);
    await this.#rig.choose(number);
    this.#known = undefined;
  }

  /** Publishes a livepatch (one that was published before stays what it is), and the policy wants it. */
  async publish(directory: string): Promise<void> {
    const { serial } = await this.#rig.publish(directory);
    await this.choose(serial);
  }

  /** Lays configuration over the agent's, and has it taken up. */
  async configure(change: Readonly<Record<string, unknown>>): Promise<void> {
    const { host } = this.guest;
    await host.copyIn(Buffer.from(JSON.stringify(change)), '/etc/kmend-agent/config.d/90-faults.json');
    // On the disk, whatever happens to the host next.
    await host.check(`sync && systemctl restart ${layout.acting.join(' ')}`, { timeoutMs: 120_000 });
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

  /** Does what the phase is about, with any outcome. Not for `boot`: the caller, who cuts the power, does that. */
  order(phase: Exclude<Phase, 'boot'>, way: Way): Promise<GuestResult> {
    return this.ask(phase === 'revert' ? 'revert' : way);
  }

  /**
   * Lets the host come to its right state: by what its units do of themselves, and where that is not enough by the next
   * check, as the fetcher would make it. What it came to. `changed`: something else than an order was done since it was
   * looked at.
   */
  async heal(changed = false): Promise<Observation> {
    await this.untilActive();
    const seen = changed ? undefined : this.#known;
    if (seen !== undefined && this.#isRight(seen)) return seen;
    // Looking on would only take the time that the agent needs itself.
    await this.guest.faults.rest();
    const rested = await this.look();
    if (this.#isRight(rested)) return rested;
    await this.ask('check');
    return await this.look();
  }

  #isRight(seen: Observation): boolean {
    return standing(seen, journalOf(seen), this.#wanted).kind === 'right';
  }

  ask(...words: string[]): Promise<GuestResult> {
    this.#known = undefined;
    return this.guest.host.run(['kmend-agent', ...words, '--json'], { timeoutMs: ORDER_MS });
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
  async #told({ claims }: Observation): Promise<Told | undefined> {
    if (claims === undefined) return undefined;
    const { status, effectiveSerial, lastReport } = await this.#rig.api.showHost(claims.hostId);
    if (this.#back !== undefined && Date.parse(lastReport ?? '') < this.#back.at) return this.#back.told;
    return { loaded: status.loaded.state, transition: status.transition.state, effectiveSerial };
  }

  /**
   * The same once reports have had time to come through, and the server, which does so in batches, to write them down.
   */
  async toldInTime(seen: Observation): Promise<Told | undefined> {
    for (const until = performance.now() + REPORT_MS; ; ) {
      const told = await this.#told(seen);
      const isTrue = told === undefined || toldTooMuch(told, seen, this.published).length === 0;
      if (isTrue || performance.now() > until) return told;
      await sleep(1_000);
    }
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
