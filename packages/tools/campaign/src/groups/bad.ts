import { setTimeout as sleep } from 'node:timers/promises';
import * as livepatches from '../faults/livepatches.ts';
import type { Finding } from '../judge.ts';
import { inForce } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import type { Published, Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';

const LATER_S = 30;
/** Longer than anything here takes to do its harm, and than an emulated host takes to show it. */
const SOAK_S = 600;
const PATIENCE_MS = 300_000;

/** A livepatch that was signed by mistake, and what it does to a host on which an older one was good. */
interface Bad {
  readonly name: string;
  /** Builds it; gives what is to happen in the guest once it is loaded. */
  build(rig: Rig): Promise<{ readonly directory: string; readonly trigger?: string }>;
  /**
   * The host goes down with it, and comes up by itself; or the kernel lives on, but nothing more may be loaded into it
   * until it is booted again.
   */
  readonly leaves: 'down' | 'crashed' | 'sound';
}

export const BAD: readonly Bad[] = [
  { name: 'panics-on-load', leaves: 'down', build: ({ operator }) => livepatches.panicsOnLoad(operator) },
  { name: 'panics-later', leaves: 'down', build: ({ operator }) => livepatches.panicsLater(operator, LATER_S) },
  { name: 'oopses', leaves: 'crashed', build: ({ operator }) => livepatches.oopsesInPatched(operator) },
  { name: 'warns', leaves: 'sound', build: ({ operator }) => livepatches.warnsInPatched(operator) },
];

/** It is loaded, does its harm, and must end quarantined and said, with the one before it in force again. */
export function badRound(rig: Rig, life: Life, bad: Bad): Round {
  return { id: bad.name, run: () => suffer(rig, life, bad) };
}

async function suffer(rig: Rig, life: Life, bad: Bad): Promise<RoundResult> {
  const good = await settled(life);
  await life.configure({ soakSeconds: SOAK_S });
  const { directory, trigger } = await bad.build(rig);
  await life.publish(directory);
  const { host } = life.guest;
  try {
    return await judged(life, bad.name, async () => {
      const said =
        bad.leaves === 'down'
          ? await host.rebootBy(() => untilGone(life)).then(() => 'the host panicked')
          : await harmed(life, trigger);
      const seen: Observation[] = [await life.look()];
      await life.untilActive();
      const out = await until(
        life,
        (it) => it.claims?.quarantined.some(({ serial }) => serial === life.wanted.serial) === true,
      );
      seen.push(out);
      const found: Finding[] = [];
      if (bad.leaves === 'crashed') {
        if (out.claims?.problem?.code !== 'kernel-tainted')
          found.push({ harm: 'not-right', text: `the problem said is ${out.claims?.problem?.code}` });
        await host.reboot();
      }
      const last = await until(life, (it) => inForce(it.after, good.module));
      if (!inForce(last.after, good.module))
        found.push({
          harm: 'not-right',
          text: `serial ${good.serial} is not in force again: ${JSON.stringify(last.after)}`,
        });
      return { what: said, struck: true, seen, last, found, mayNeedPerson: true };
    });
  } finally {
    await life.choose(good.serial);
  }
}

/** What the policy wanted before is in force and good. */
async function settled(life: Life): Promise<Published> {
  await life.bring('boot', 'resume');
  return life.wanted;
}

async function untilGone(life: Life): Promise<void> {
  await life.ask('check');
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until; ) {
    await life.guest.host.check('sleep 1');
  }
}

async function harmed(life: Life, trigger = ''): Promise<string> {
  const { stdout } = await life.ask('check');
  await life.guest.host.run(trigger, { user: 'nobody' });
  return `${outcome(stdout)}, then ${trigger}`;
}

/** Asks again and again, with checks as they would come by themselves, until it is so or patience is over. */
async function until(life: Life, done: (seen: Observation) => boolean): Promise<Observation> {
  for (const end = performance.now() + PATIENCE_MS; ; ) {
    await life.ask('check');
    const seen = await life.look();
    if (done(seen) || performance.now() > end) return seen;
    await sleep(1_000);
  }
}

/** After so many seconds the transition is reversed, if there is a limit: time enough to look at it first. */
const LIMIT_S = 60;

/**
 * A task sleeps in the patched function and cannot continue: the transition does not end until it can. Without a limit
 * the agent waits forever; with one it reverses the transition, keeps the older livepatch in force, and says when it
 * will retry. An administrator who let the task continue need not wait for that.
 */
export function neverEndsRound(rig: Rig, life: Life, limited: boolean): Round {
  const id = limited ? 'never-ends/taken back' : 'never-ends/waited for';
  return { id, run: () => neverEnds(rig, life, id, limited) };
}

async function neverEnds(rig: Rig, life: Life, id: string, limited: boolean): Promise<RoundResult> {
  const good = await settled(life);
  await life.configure({ soakSeconds: 1, stuckAfterSeconds: 5, transitionLimitSeconds: limited ? LIMIT_S : 0 });
  const bad = await livepatches.neverEnds(rig.operator);
  const { host } = life.guest;
  await host.check(bad.hold);
  await life.publish(bad.directory);
  try {
    return await judged(life, id, async () => {
      const said = [outcome((await life.ask('check')).stdout)];
      const found: Finding[] = [];
      const missing = (text: string): void => void found.push({ harm: 'not-right', text });
      if (!(await life.ask('status')).stdout.includes(bad.task)) missing(`the status does not name ${bad.task}`);
      const seen = [await life.look()];
      if (limited) {
        const back = await until(life, (it) => inForce(it.after, good.module));
        seen.push(back);
        if (!inForce(back.after, good.module)) missing(`serial ${good.serial} is not in force again`);
        if (back.claims?.reason !== 'deferred') missing(`the reason given is ${back.claims?.reason}`);
      }
      await host.check(bad.release);
      if (limited) said.push(outcome((await life.ask('apply')).stdout));
      const last = await until(life, (it) => inForce(it.after, life.wanted.module));
      return { what: said.join(', '), struck: true, seen, last, found, mayNeedPerson: false };
    });
  } finally {
    await life.choose(good.serial);
  }
}
