import { errorCode, errorText, KmendError } from '@kmend/base';
import { failureKind } from '@kmend/trust';
import { decide, type Reason, type Verdict } from '../decide/decide.ts';
import { AgentError } from '../error.ts';
import { withEvent } from '../state/journal.ts';
import { type Agent, channelOf, commit } from './context.ts';
import { loadLivepatch } from './load.ts';
import { DEFAULT_INTERVAL_SECONDS, type Observed, see } from './observed.ts';
import { withdraw } from './revert.ts';

export interface CheckResult {
  /** What the check began; follow it with `advance`. */
  readonly action: 'none' | 'load' | 'revert';
  /** Why nothing was begun. */
  readonly reason: Reason | null;
  /** Serial the signed policy wants here; `null`: none. */
  readonly chosen: number | null;
}

/**
 * One regular check: contact the repository, decide by its signed policy, begin what it asks for. Throws the trust
 * package's errors as they are, and whatever stands in the way of a load.
 */
export async function check(agent: Agent, signal: AbortSignal): Promise<CheckResult> {
  const { decision, chosen } = await ask(agent, signal);
  if (decision.kind === 'none') return { action: 'none', reason: decision.reason, chosen };
  try {
    if (decision.kind === 'load') await loadLivepatch(agent, decision.serial, signal);
    else await withdraw(agent, decision.reason);
    await settleProblem(agent, undefined, decision.serial);
  } catch (cause) {
    const error = signal.aborted && !(cause instanceof AgentError) ? interrupted(cause) : cause;
    await settleProblem(agent, error, decision.serial);
    throw error;
  }
  return { action: decision.kind, reason: null, chosen };
}

async function ask(agent: Agent, signal: AbortSignal): Promise<Verdict> {
  const { repository, observed, buildId } = agent;
  try {
    const outcome = await repository.check(signal);
    const fleet = await repository.fleetPolicy(signal);
    const policy = await repository.kernelPolicy(buildId, signal);
    const verdict = decide({
      buildId,
      hostId: agent.identity.hostId,
      channel: channelOf(agent),
      fleet,
      policy,
      journal: agent.store.journal,
    });
    const at = agent.edges.clock.now().toISOString();
    const { decision, coverage, chosen } = verdict;
    await observed.save({
      ...observed.value,
      contact: see(observed.value.contact, 'ok', at),
      coverage: see(observed.value.coverage, coverage, at),
      chosen,
      reason: decision.kind === 'none' ? decision.reason : null,
      intervalSeconds: agent.config.checkIntervalSeconds ?? fleet?.checkIntervalSeconds ?? DEFAULT_INTERVAL_SECONDS,
      expires: outcome.expires.toISOString(),
      problem: decision.kind === 'none' && decision.reason !== 'busy' ? null : observed.value.problem,
    });
    return verdict;
  } catch (error) {
    if (signal.aborted) throw interrupted(error);
    const kind = failureKind(error);
    const at = agent.edges.clock.now().toISOString();
    if (kind === 'local') {
      await observed.save({ ...observed.value, problem: problemOf(error, at) });
    } else {
      await observed.save({ ...observed.value, contact: see(observed.value.contact, kind, at, errorText(error)) });
    }
    throw error;
  }
}

function interrupted(cause: unknown): AgentError {
  return new AgentError('interrupted', 'the check was interrupted: nothing was loaded', { cause });
}

/** Remembers what stands in the way; an event is left only where that is news. */
async function settleProblem(agent: Agent, error: unknown, serial: number): Promise<void> {
  const { observed } = agent;
  const before = observed.value.problem;
  const code = errorCode(error) ?? 'internal';
  if (error === undefined || code === 'interrupted') {
    if (error === undefined && before !== null) await observed.save({ ...observed.value, problem: null });
    return;
  }
  const at = agent.edges.clock.now().toISOString();
  const problem = problemOf(error, at);
  await observed.save({ ...observed.value, problem });
  // A full disk cannot take the event either; a refused load left its own.
  if (before?.code === code || code === 'disk-full' || code === 'load-refused') return;
  await commit(agent, (journal, moment) =>
    withEvent(journal, { at: moment.at, code, message: problem.message, serial }),
  );
}

function problemOf(error: unknown, at: string): NonNullable<Observed['problem']> {
  const hint = error instanceof KmendError ? error.hint?.slice(0, 500) : undefined;
  const message = errorText(error).slice(0, 2000);
  return { code: errorCode(error) ?? 'internal', message, at, ...(hint === undefined ? {} : { hint }) };
}
