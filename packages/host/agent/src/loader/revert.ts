import type { Reason } from '../decide/decide.ts';
import { AgentError } from '../error.ts';
import { isOurs, readKernelView } from '../kernel/livepatch.ts';
import { disableLivepatch } from '../kernel/loader.ts';
import { type Hold, isQuarantined } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import * as overrides from '../state/overrides.ts';
import { commit, type Loader, wakeSoon } from './context.ts';
import { lookAtPackages } from './packages.ts';

/**
 * Takes the livepatch out of force on a person's word; `advance` follows it to the end. Nothing is loaded again until
 * `resume`, or with `untilNewer` until a newer serial is chosen. Throws `nothing-loaded` (the hold is set all the
 * same).
 */
export async function revert(loader: Loader, untilNewer: boolean): Promise<{ serial: number }> {
  const { current } = loader.store.journal;
  await remark(loader, 'held');
  const out = (serial: number | null): Hold => ({
    ...holdOf(loader, 'out', null, 'reverted by hand'),
    untilNewerThan: untilNewer ? serial : null,
  });
  if (current === null || current.phase === 'failed') {
    const newest = untilNewer ? (current?.serial ?? loader.observed.value.chosen) : null;
    await commit(loader, (journal) => overrides.hold(journal, out(newest)));
    const stranger = (await readKernelView(loader.edges)).livepatches.find((it) => isOurs(it.name) && it.enabled);
    const { drive } = await lookAtPackages(loader);
    throw new AgentError('nothing-loaded', 'no livepatch of this agent is loaded; the hold is set', {
      hint: drive
        ? 'the packages drive this host: kmend-livepatch revert reverts theirs'
        : stranger === undefined
          ? 'kmend-agent resume lets it load again'
          : `${stranger.name} is in force but not in the journal: kmend-agent resume, check, then revert`,
    });
  }
  // A revert that is under way already needs the person's hold, no second beginning.
  if (current.phase === 'reverting') await commit(loader, (journal) => overrides.hold(journal, out(current.serial)));
  else {
    await commit(loader, (journal, now) =>
      machine.beginRevert(journal, now, out(current.serial), 'asked for on this host'),
    );
  }
  await disableLivepatch(loader.edges, current.module);
  return { serial: current.serial };
}

/** Takes a withdrawn livepatch out of force; no hold, the policy decides what comes next. */
export async function withdraw(loader: Loader, reason: string): Promise<void> {
  const after = await commit(loader, (journal, now) => machine.beginRevert(journal, now, null, reason));
  if (after.current !== null) await disableLivepatch(loader.edges, after.current.module);
}

/** The livepatch in force stays, whatever the policy requires, unless it is withdrawn. */
export async function hold(loader: Loader, until: string | null, reason: string): Promise<void> {
  await commit(loader, (journal) => overrides.hold(journal, holdOf(loader, 'stay', until, reason)));
  await remark(loader, 'held', until);
}

/** A person who has something loaded does not hold everything back any more. */
export async function liftOut(loader: Loader): Promise<void> {
  if (loader.store.journal.hold?.kind === 'out') await commit(loader, overrides.lift);
}

/**
 * The livepatch before the one that runs, to go back to: the newest older one that this host has met and not
 * quarantined.
 */
export function previousSerial(loader: Loader): number {
  const { journal } = loader.store;
  const { buildId } = loader;
  const running = journal.current?.serial ?? Number.POSITIVE_INFINITY;
  const older = journal.known
    .filter((it) => it.buildId === buildId && it.serial < running && !isQuarantined(journal, buildId, it.serial))
    .map((it) => it.serial);
  if (older.length > 0) return Math.max(...older);
  throw new AgentError('nothing-older', 'this host knows no older livepatch of this kernel', {
    hint: 'kmend-agent apply --serial N loads a certain one; kmend-agent revert reverts the present one',
  });
}

function holdOf(loader: Loader, kind: Hold['kind'], until: string | null, reason: string): Hold {
  const at = loader.edges.clock.now().toISOString();
  return { kind, buildId: loader.buildId, untilNewerThan: null, until, reason, at };
}

export async function resume(loader: Loader): Promise<void> {
  await commit(loader, overrides.resume);
  await remark(loader, null);
  await wakeSoon(loader);
}

/** What the last look gave as its reason for doing nothing is not the reason any more. */
async function remark({ observed }: Loader, reason: Reason | null, wakeAt: string | null = null): Promise<void> {
  await observed.save({ ...observed.value, reason, wakeAt, problem: null });
}
