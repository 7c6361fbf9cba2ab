import type { Channel } from '@kmend/protocol';
import { saveHost } from '../config/host.ts';
import { AgentError } from '../error.ts';
import { advance } from '../loader/advance.ts';
import { type Considered, consider } from '../loader/consider.ts';
import type { Loader } from '../loader/context.ts';
import { handOver } from '../loader/hand-over.ts';
import { hold, liftOut, previousSerial, resume, revert } from '../loader/revert.ts';
import type { CommandResult, LoaderOrder } from './orders.ts';
import { sleep } from './sleep.ts';

const CONSIDER_TIMEOUT_MS = 5 * 60_000;

export interface Actor {
  readonly loader: Loader;
  /** Everything that acts goes through here, one after the other. */
  readonly queue: <T>(work: () => Promise<T>) => Promise<T>;
  /** Called after whatever may have changed something. */
  changed(): void;
}

type Tell = (text: string) => void;

/** Does what was asked and follows it to its outcome. `tell` hears how it goes. */
export async function perform(actor: Actor, order: LoaderOrder, stop: AbortSignal, tell: Tell): Promise<CommandResult> {
  const { loader } = actor;
  switch (order.command) {
    case 'consider': {
      // First what the kernel shows: a livepatch that an administrator reverted is not compared with the policy.
      await actor.queue(() => advance(loader));
      const { channel } = order;
      if (channel !== undefined) await actor.queue(() => moveTo(loader, channel));
      const result = await look(actor, { fetched: order.fetched }, stop);
      // A look that finds a transition under way tells how that ends.
      const moving = loader.store.journal.current?.phase === 'transition';
      const begun = result.action === 'load' || result.action === 'revert';
      if (order.follow && (begun || result.reason === 'busy' || moving)) await follow(actor, stop, tell);
      return outcome(loader, result);
    }
    case 'apply':
      return await apply(actor, order.serial, order.fetched, stop, tell);
    case 'revert': {
      if (order.to === 'previous') {
        const serial = order.fetched[0] ?? previousSerial(loader);
        return await apply(actor, serial, order.fetched, stop, tell);
      }
      const { serial } = await actor.queue(() => revert(loader, order.untilNewer)).finally(actor.changed);
      await follow(actor, stop, tell);
      return { ...outcome(loader, { action: 'revert', reason: null, chosen: null, serial }), serial };
    }
    case 'consolidate':
      return order.undo ? await undo(actor, tell) : await consolidate(actor, order.fetched, stop, tell);
    case 'hold':
      await actor.queue(() => hold(loader, order.until, order.reason)).finally(actor.changed);
      return outcome(loader, { action: 'hold', reason: null, chosen: null, serial: null });
    case 'resume':
      await actor.queue(() => resume(loader)).finally(actor.changed);
      return outcome(loader, { action: 'resume', reason: null, chosen: null, serial: null });
  }
}

async function moveTo(loader: Loader, channel: Channel): Promise<void> {
  if (channel === loader.identity.channel) return;
  const host = { ...loader.identity, channel };
  await saveHost(loader.edges, host);
  loader.identity = host;
}

function look(actor: Actor, what: Parameters<typeof consider>[1], stop: AbortSignal): Promise<Considered> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(CONSIDER_TIMEOUT_MS)]);
  return actor.queue(() => consider(actor.loader, what, signal)).finally(actor.changed);
}

/** A serial that was asked for by number is held: the policy would replace it at its next look. */
async function apply(
  actor: Actor,
  serial: number | null,
  fetched: readonly number[],
  stop: AbortSignal,
  tell: Tell,
): Promise<CommandResult> {
  const { loader } = actor;
  const result = await look(actor, { order: { serial }, fetched }, stop);
  if (serial !== null && result.action !== 'fetch' && (result.action === 'load' || result.reason === 'up-to-date')) {
    const reason = `serial ${serial} was asked for by hand`;
    await actor.queue(() => hold(loader, null, reason)).finally(actor.changed);
  }
  if (serial === null && result.action === 'load') await actor.queue(() => liftOut(loader)).finally(actor.changed);
  if (result.action === 'load') await follow(actor, stop, tell);
  return outcome(loader, result);
}

async function consolidate(
  actor: Actor,
  fetched: readonly number[],
  stop: AbortSignal,
  tell: Tell,
): Promise<CommandResult> {
  const { loader } = actor;
  const result = await look(actor, { order: { serial: null, consolidate: true }, fetched }, stop);
  if (result.action !== 'load') return outcome(loader, result);
  await actor.queue(() => liftOut(loader)).finally(actor.changed);
  await follow(actor, stop, tell);
  return outcome(loader, { ...result, action: 'consolidate' });
}

async function undo({ loader, queue, changed }: Actor, tell: Tell): Promise<CommandResult> {
  // First what the kernel shows: a transition may just have come to its end.
  await queue(() => advance(loader));
  const serial = await queue(() => handOver(loader, tell)).finally(changed);
  return { ...outcome(loader, { action: 'hand-over', reason: null, chosen: null, serial }), serial };
}

function outcome(
  loader: Loader,
  result: Omit<Considered, 'action'> & { action: CommandResult['action'] },
): CommandResult {
  const { current } = loader.store.journal;
  const { action, reason, chosen } = result;
  const serial = action === 'fetch' ? result.serial : (current?.serial ?? null);
  return { action, reason, chosen, state: current?.phase ?? 'idle', serial };
}

/**
 * Follows what is in flight until it rests. Throws `transition-stuck` (the loader keeps waiting) and what made it
 * fail.
 */
export async function follow(actor: Actor, stop: AbortSignal, tell: Tell): Promise<void> {
  const { loader } = actor;
  let told = '';
  while (!stop.aborted) {
    const wait = await actor.queue(() => advance(loader));
    const { current, events } = loader.store.journal;
    actor.changed();
    if (current === null || current.phase === 'soak' || current.phase === 'good') return;
    if (current.phase === 'failed') {
      const { code, message } = current.failure ?? { code: 'load-failed', message: 'it failed' };
      const known = code === 'load-refused' ? code : 'load-failed';
      throw new AgentError(known, message, {
        hint: 'it is quarantined on this host; kmend-agent resume lifts the quarantine',
      });
    }
    if (current.stuck) {
      const message = events.findLast((it) => it.code === 'transition-stuck')?.message;
      throw new AgentError('transition-stuck', message ?? `the transition of ${current.module} is slow`, {
        hint: 'the agent waits and never forces it; end or restart the named tasks, or run kmend-agent revert',
      });
    }
    if (told !== current.phase) tell(`${current.module}: ${current.phase}`);
    told = current.phase;
    await sleep(loader.edges.clock, wait ?? 0, stop);
  }
  throw new AgentError(
    'interrupted',
    'interrupted before the outcome was known; the next command continues from there',
  );
}
