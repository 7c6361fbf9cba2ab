import { advance } from '../agent/advance.ts';
import { type BootOutcome, boot, reconcileBoot } from '../agent/boot.ts';
import { commit } from '../agent/context.ts';
import { createActor, perform } from '../service/commands.ts';
import { notifyReady } from '../service/notify.ts';
import type { Command, CommandResult } from '../service/orders.ts';
import { runService } from '../service/run.ts';
import { createQueue, sleep } from '../service/sleep.ts';
import * as machine from '../state/machine.ts';
import type { Context } from './commands.ts';
import { assertRoot } from './root.ts';
import { openSession, type SessionOptions } from './session.ts';

/** Does in this process what the service would do, where none is running. */
export async function orderHere({ edges, terminal, signal }: Context, command: Command): Promise<CommandResult> {
  const tell = (line: string): void => terminal.note(line.trimEnd());
  const { agent, lock } = await openSession(edges, { patient: true, online: true, journal: false, write: tell });
  try {
    await reconcileBoot(agent);
    return await perform(
      createActor(agent, createQueue(), signal, () => {}),
      command,
      signal,
      tell,
    );
  } finally {
    lock.release();
  }
}

export async function run({ edges, env, uid, signal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, true, true));
  try {
    const notify = (): Promise<void> => notifyReady(edges.run, env['NOTIFY_SOCKET'], 'watching');
    await runService(agent, signal, notify);
  } finally {
    lock.release();
  }
  return 0;
}

/** Longest that a boot waits for a transition; the service follows it further. */
const BOOT_WAIT_MS = 30_000;

export async function bootCommand({ edges, env, uid, signal, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, false, false));
  try {
    const outcome: BootOutcome = await boot(agent);
    const until = edges.clock.monotonic() + BOOT_WAIT_MS;
    while (!signal.aborted && edges.clock.monotonic() < until) {
      const state = machine.stateOf(agent.store.journal);
      if (state !== 'transition' && state !== 'replacing') break;
      await sleep(edges.clock, (await advance(agent)) ?? 0, signal);
    }
    const state = machine.stateOf(agent.store.journal);
    terminal.result({ outcome, state }, (it) => `boot: ${it.outcome} (${it.state})`);
  } finally {
    lock.release();
  }
  return 0;
}

export async function shutdown({ edges, env, uid, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const { agent, lock } = await openSession(edges, logging(env, true, false));
  try {
    if (agent.store.journal.current !== null) await commit(agent, machine.markShutdown);
    terminal.result({ state: machine.stateOf(agent.store.journal) }, (it) => `shutdown noted (${it.state})`);
  } finally {
    lock.release();
  }
  return 0;
}

function logging(env: Context['env'], patient: boolean, online: boolean): SessionOptions {
  return { patient, online, journal: env['JOURNAL_STREAM'] !== undefined, write: (line) => process.stderr.write(line) };
}
