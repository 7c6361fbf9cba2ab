import { advance } from '../agent/advance.ts';
import { reconcileBoot } from '../agent/boot.ts';
import type { Agent } from '../agent/context.ts';
import { errorData } from '../log.ts';
import { type Actor, createActor, perform, runCheck } from './commands.ts';
import { serveControl } from './control.ts';
import { reportLoop } from './reporter.ts';
import { createBell, createQueue, sleep } from './sleep.ts';

/** Most of the first wait, so that hosts that came up together do not ask together. */
const FIRST_CHECK_MS = 20_000;
/** How often to look at what is in flight while an attempt to go on with it fails. */
const TROUBLE_MS = 10_000;
const REST_MS = 3_600_000;

/** Milliseconds to the next check: the interval, give or take a fifth. */
export function jittered(seconds: number, random: number): number {
  return Math.round(seconds * 1000 * (0.8 + 0.4 * random));
}

/**
 * The service: checks, what is in flight, reports and commands, until `stop`. The caller holds the lock. `ready` is
 * called once commands are taken.
 */
export async function runService(agent: Agent, stop: AbortSignal, ready: () => Promise<void>): Promise<void> {
  const bell = createBell();
  const actor = createActor(agent, createQueue(), stop, () => bell.ring());
  await actor.queue(() => reconcileBoot(agent));
  const control = await serveControl((command, tell) => perform(actor, command, stop, tell));
  try {
    await ready();
    agent.log('info', 'watching', { host: agent.identity.hostId, kernel: agent.edges.machine.release() });
    await Promise.all([
      checkLoop(actor, stop),
      advanceLoop(actor, stop, () => bell.signal()),
      reportLoop(agent, stop, () => bell.signal()),
    ]);
  } finally {
    control.close();
  }
}

async function checkLoop(actor: Actor, stop: AbortSignal): Promise<void> {
  const { agent } = actor;
  const { clock } = agent.edges;
  const interval = (): number => agent.config.checkIntervalSeconds ?? agent.observed.value.intervalSeconds;
  await sleep(clock, agent.edges.random() * Math.min(FIRST_CHECK_MS, interval() * 1000), stop);
  let trouble = '';
  while (!stop.aborted) {
    try {
      const result = await runCheck(actor);
      if (trouble !== '') agent.log('info', 'checks succeed again', { after: trouble });
      trouble = '';
      agent.log('debug', 'checked', { ...result });
    } catch (error) {
      if (stop.aborted) return;
      const data = errorData(error);
      // The same trouble at each check is said once.
      agent.log(trouble === data['code'] ? 'debug' : 'warn', 'check failed', data);
      trouble = String(data['code']);
    }
    await sleep(clock, jittered(interval(), agent.edges.random()), stop);
  }
}

async function advanceLoop(actor: Actor, stop: AbortSignal, changed: () => AbortSignal): Promise<void> {
  const { agent } = actor;
  while (!stop.aborted) {
    const wake = changed();
    let wait: number | undefined;
    const before = agent.store.journal;
    try {
      wait = await actor.queue(() => advance(agent));
    } catch (error) {
      agent.log('warn', 'cannot go on with what is in flight', errorData(error));
      wait = TROUBLE_MS;
    }
    if (agent.store.journal !== before) actor.changed();
    // A check may put something new in flight meanwhile: a soak's long wait must not hold that up.
    await sleep(agent.edges.clock, wait ?? REST_MS, AbortSignal.any([stop, wake]));
  }
}
