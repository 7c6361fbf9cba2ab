import type { Reason } from '../decide/decide.ts';
import { AgentError } from '../error.ts';
import { isOurs, readKernelView } from '../kernel/livepatch.ts';
import { disableLivepatch } from '../kernel/loader.ts';
import type { Hold } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { type Agent, commit } from './context.ts';

/**
 * Takes the livepatch out of force on a person's word; `advance` follows it to the end. Nothing is loaded again until
 * `resume`, or with `untilNewer` until a newer serial is chosen. Throws `nothing-loaded` (the hold is set all the same).
 */
export async function revert(agent: Agent, untilNewer: boolean): Promise<{ serial: number }> {
  const { current } = agent.store.journal;
  await remark(agent, 'held');
  const hold = (serial: number | null): Hold => ({
    buildId: agent.buildId,
    untilNewerThan: untilNewer ? serial : null,
    at: agent.edges.clock.now().toISOString(),
  });
  if (current === null || current.phase === 'failed') {
    const newest = untilNewer ? (current?.serial ?? agent.observed.value.chosen) : null;
    await commit(agent, (journal) => machine.hold(journal, hold(newest)));
    const stranger = (await readKernelView(agent.edges)).livepatches.find((it) => isOurs(it.name) && it.enabled);
    throw new AgentError('nothing-loaded', 'no livepatch of this agent is loaded; it is held back from now on', {
      hint:
        stranger === undefined
          ? 'kmend-agent resume lets it load again'
          : `${stranger.name} is in force but not in the journal: kmend-agent resume, check, then revert`,
    });
  }
  await commit(agent, (journal, now) =>
    machine.beginRevert(journal, now, hold(current.serial), 'asked for on this host'),
  );
  await disableLivepatch(agent.edges, current.module);
  return { serial: current.serial };
}

/** Takes a withdrawn livepatch out of force; no hold, the policy decides what comes next. */
export async function withdraw(agent: Agent, reason: string): Promise<void> {
  const after = await commit(agent, (journal, now) => machine.beginRevert(journal, now, null, reason));
  if (after.current !== null) await disableLivepatch(agent.edges, after.current.module);
}

export async function resume(agent: Agent): Promise<void> {
  await commit(agent, machine.resume);
  await remark(agent, null);
}

/** What the last check gave as its reason for doing nothing is not the reason any more. */
async function remark({ observed }: Agent, reason: Reason | null): Promise<void> {
  await observed.save({ ...observed.value, reason, problem: null });
}
