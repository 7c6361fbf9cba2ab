import { advance } from '../agent/advance.ts';
import { type CheckResult, check } from '../agent/check.ts';
import type { Agent } from '../agent/context.ts';
import { resume, revert } from '../agent/revert.ts';
import { AgentError } from '../error.ts';
import type { Command, CommandResult } from './orders.ts';
import { sleep } from './sleep.ts';

const CHECK_TIMEOUT_MS = 15 * 60_000;

export interface Actor {
  readonly agent: Agent;
  /** Everything that acts goes through here, one after the other. */
  readonly queue: <T>(work: () => Promise<T>) => Promise<T>;
  /** Called after whatever may have changed something. */
  changed(): void;
  /** Ends the network part of a check under way. */
  interrupt(): void;
  /** Signal of the check that is about to begin. */
  checkSignal(): AbortSignal;
}

export function createActor(agent: Agent, queue: Actor['queue'], stop: AbortSignal, changed: () => void): Actor {
  let current = new AbortController();
  return {
    agent,
    queue,
    changed,
    interrupt() {
      current.abort();
      current = new AbortController();
    },
    checkSignal: () => AbortSignal.any([stop, current.signal, AbortSignal.timeout(CHECK_TIMEOUT_MS)]),
  };
}

export async function runCheck(actor: Actor): Promise<CheckResult> {
  try {
    return await actor.queue(() => check(actor.agent, actor.checkSignal()));
  } finally {
    actor.changed();
  }
}

/** Does what was asked and follows it to its outcome. `tell` hears how it goes. */
export async function perform(
  actor: Actor,
  command: Command,
  stop: AbortSignal,
  tell: (text: string) => void,
): Promise<CommandResult> {
  switch (command.command) {
    case 'check': {
      const result = await runCheck(actor);
      // A check that finds a transition under way tells how that ends.
      if (result.action !== 'none' || result.reason === 'busy') await follow(actor, stop, tell);
      else if (actor.agent.store.journal.current?.phase === 'transition') await follow(actor, stop, tell);
      return outcome(actor.agent, result);
    }
    case 'revert': {
      actor.interrupt();
      const { serial } = await actor.queue(() => revert(actor.agent, command.untilNewer)).finally(actor.changed);
      await follow(actor, stop, tell);
      const { journal } = actor.agent.store;
      return { action: 'revert', reason: null, chosen: null, state: journal.current?.phase ?? 'idle', serial };
    }
    case 'resume':
      await actor.queue(() => resume(actor.agent)).finally(actor.changed);
      return outcome(actor.agent, { action: 'none', reason: null, chosen: null }, 'resume');
  }
}

function outcome(agent: Agent, result: CheckResult, action: CommandResult['action'] = result.action): CommandResult {
  const { current } = agent.store.journal;
  const { reason, chosen } = result;
  return { action, reason, chosen, state: current?.phase ?? 'idle', serial: current?.serial ?? null };
}

/** Follows what is in flight until it rests. Throws `transition-stuck` (the agent goes on waiting) and what made it fail. */
export async function follow(actor: Actor, stop: AbortSignal, tell: (text: string) => void): Promise<void> {
  const { agent } = actor;
  let told = '';
  while (!stop.aborted) {
    const wait = await actor.queue(() => advance(agent));
    const { current } = agent.store.journal;
    actor.changed();
    if (current === null || current.phase === 'soak' || current.phase === 'good') return;
    if (current.phase === 'failed') {
      const { code, message } = current.failure ?? { code: 'load-failed', message: 'it failed' };
      const known = code === 'load-refused' ? code : 'load-failed';
      throw new AgentError(known, message, { hint: 'it is quarantined on this host; kmend-agent resume lifts that' });
    }
    if (current.stuck) {
      const message = agent.store.journal.events.findLast((it) => it.code === 'transition-stuck')?.message;
      throw new AgentError('transition-stuck', message ?? `the transition of ${current.module} takes long`, {
        hint: 'the agent goes on waiting and never forces it; end or restart the tasks named, or kmend-agent revert',
      });
    }
    if (told !== current.phase) tell(`${current.module}: ${current.phase}`);
    told = current.phase;
    await sleep(agent.edges.clock, wait ?? 0, stop);
  }
  throw new AgentError('interrupted', 'interrupted before the outcome was known; the next command goes on from there');
}
