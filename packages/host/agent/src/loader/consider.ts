import { diskFault, errorCode, errorText, KmendError } from '@kmend/base';
import type { FleetPolicy } from '@kmend/protocol';
import { journalCode } from '../codes.ts';
import { type Decision, decide, type Reason, type Verdict } from '../decide/decide.ts';
import { windowAt } from '../decide/windows.ts';
import { AgentError } from '../error.ts';
import { findPending } from '../kernel/pending.ts';
import { switchedOff } from '../kernel/switch.ts';
import { readPackages } from '../packages/program.ts';
import type { Problem } from '../seen/observed.ts';
import { see } from '../seen/stored.ts';
import { withEvent } from '../state/journal.ts';
import * as overrides from '../state/overrides.ts';
import { consolidate, stackToReplace } from './consolidate.ts';
import { channelOf, commit, type Loader, now, wakeSoon } from './context.ts';
import { loadLivepatch } from './load.ts';
import { lookAtPackages, type PackagesSeen } from './packages.ts';
import { withdraw } from './revert.ts';

export interface Considered {
  /**
   * What was begun; follow it with `advance`. `fetch`: the livepatch that is wanted is not in the fetcher's cache yet.
   */
  readonly action: 'none' | 'load' | 'revert' | 'fetch';
  /** Why nothing was begun. */
  readonly reason: Reason | null;
  /** Serial the signed policy wants here; `null`: none. */
  readonly chosen: number | null;
  /** Serial that is loaded, reverted or to be fetched. */
  readonly serial: number | null;
}

export interface Consideration {
  /** A person's order; absent: the policy decides. */
  readonly order?: { readonly serial: number | null; readonly consolidate?: boolean };
  /** Serials the fetcher has just fetched, or says it cannot: asked for no more. */
  readonly fetched: readonly number[];
}

/**
 * Looks at what the fetcher brought: verifies all of it again, decides by the signed policy, begins what that requires.
 * Throws the trust package's errors as they are, and every obstacle of a load.
 */
export async function consider(loader: Loader, what: Consideration, signal: AbortSignal): Promise<Considered> {
  try {
    const packages = await lookAtPackages(loader);
    if (what.order?.consolidate === true) stackToReplace(await readPackages(loader.edges));
    const { decision, chosen, consolidates } = await ask(loader, what, packages, signal);
    if (decision.kind === 'none') return { action: 'none', reason: decision.reason, chosen, serial: null };
    const { serial } = decision;
    if (decision.kind === 'load') {
      const origin = what.order === undefined ? 'check' : 'order';
      const load = consolidates ? consolidate : loadLivepatch;
      const loaded = async (): Promise<void> => await load(loader, serial, origin, signal);
      if (!(await loadOrWant(loaded, !what.fetched.includes(serial))))
        return { action: 'fetch', reason: null, chosen, serial };
    } else {
      await withdraw(loader, decision.reason);
      await wakeSoon(loader);
    }
    await settleProblem(loader, undefined, serial);
    return { action: decision.kind, reason: null, chosen, serial };
  } catch (cause) {
    const error =
      signal.aborted && !(cause instanceof AgentError)
        ? new AgentError('interrupted', 'interrupted: nothing was loaded', { cause })
        : cause;
    await settleProblem(loader, error, loader.observed.value.chosen);
    throw error;
  }
}

/** False where the fetcher has to bring it first, and may be asked to. */
async function loadOrWant(load: () => Promise<void>, mayAsk: boolean): Promise<boolean> {
  try {
    await load();
    return true;
  } catch (error) {
    if (errorCode(error) === 'not-found' && mayAsk) return false;
    throw error;
  }
}

async function ask(
  loader: Loader,
  { order }: Consideration,
  packages: PackagesSeen,
  signal: AbortSignal,
): Promise<Verdict & { readonly consolidates: boolean }> {
  const { repository, observed, buildId, bootId, edges, config } = loader;
  const outcome = await repository.check(signal);
  const fleet = await repository.fleetPolicy(signal);
  const policy = await repository.kernelPolicy(buildId, signal);
  const moment = await now(edges);
  const clock = edges.clock.now();
  if (policy !== undefined) {
    const withdrawn = new Set(policy.withdrawn.map((it) => it.serial));
    await commit(loader, (journal) => overrides.forget(journal, buildId, withdrawn));
  }
  const consolidates = packages.drive && (order?.consolidate === true || replacesByPolicy(loader, fleet, packages));
  const verdict = decide({
    buildId,
    bootId,
    hostId: loader.identity.hostId,
    channel: channelOf(loader),
    fleet,
    policy,
    journal: loader.store.journal,
    now: clock.getTime(),
    uptime: moment.uptime,
    window: windowAt(config.maintenanceWindows, clock, edges.machine.timeZone()),
    switchedOff: (await switchedOff(edges)) !== undefined,
    packages: consolidates ? 'consolidate' : packages.drive ? 'drive' : 'none',
    order,
  });
  const { decision, coverage, chosen } = verdict;
  const idle = decision.kind === 'none' && decision.reason !== 'busy';
  await observed.save({
    ...observed.value,
    coverage: see(observed.value.coverage, coverage, moment.at),
    version: outcome.version,
    chosen,
    reason: decision.kind === 'none' ? decision.reason : null,
    wakeAt: wakeAtOf(decision, clock.getTime(), fleet?.consolidate === true),
    problem: idle ? null : observed.value.problem,
    pending: await findPending(edges, buildId, observed.value.pending),
  });
  return { ...verdict, consolidates };
}

/** The fleet's policy asks for it, and nothing stands against it that passes by itself, or that a person said. */
function replacesByPolicy({ store }: Loader, fleet: FleetPolicy | undefined, { status }: PackagesSeen): boolean {
  if (fleet?.consolidate !== true || store.journal.handedOver !== null) return false;
  try {
    stackToReplace(status);
    return true;
  } catch (error) {
    if (error instanceof AgentError) return false;
    throw error;
  }
}

const BUSY_MS = 30_000;
/** The switch may be a file that a person takes away. */
const OFF_MS = 300_000;
/** A stack that was just loaded is in its soak. */
const STACK_MS = 600_000;

/** `consolidate`: the policy wants stacks replaced, and packages may be ready for it later. */
function wakeAtOf(decision: Decision, now: number, consolidate: boolean): string | null {
  if (decision.kind !== 'none') return null;
  const again: Partial<Record<Reason, number>> = { busy: BUSY_MS, 'switched-off': OFF_MS };
  const soon = decision.reason === 'conflict-packages' && consolidate ? STACK_MS : again[decision.reason];
  const at = soon === undefined ? decision.wakeAt : now + soon;
  return at === undefined ? null : new Date(at).toISOString();
}

/** Records an obstacle; writes an event only if it is new. */
async function settleProblem(loader: Loader, error: unknown, serial: number | null): Promise<void> {
  const { observed } = loader;
  const before = observed.value.problem;
  const code = journalCode(error);
  if (error === undefined || code === 'interrupted') {
    if (error === undefined && before !== null) await observed.save({ ...observed.value, problem: null });
    return;
  }
  const problem = problemOf(error, loader.edges.clock.now().toISOString());
  await observed.save({ ...observed.value, problem });
  // A disk that fails cannot take the event either; a refused load left its own.
  if (before?.code === code || diskFault(error) !== undefined || code === 'load-refused') return;
  await commit(loader, (journal, moment) =>
    withEvent(journal, { at: moment.at, code, message: problem.message, ...(serial === null ? {} : { serial }) }),
  );
}

export function problemOf(error: unknown, at: string): Problem {
  const hint = error instanceof KmendError ? error.hint?.slice(0, 500) : undefined;
  const message = errorText(error).slice(0, 2000);
  return { code: journalCode(error), message, at, ...(hint === undefined ? {} : { hint }) };
}
