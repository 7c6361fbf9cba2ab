import { AgentError } from '../error.ts';
import type { Attempt, Journal, Phase } from './journal.ts';

/** The states of the loader; `transitions` is the picture in docs/agent.md (state/picture.ts). */
export type State = Phase | 'idle';

export function stateOf(journal: Journal): State {
  return journal.current?.phase ?? 'idle';
}

/**
 * Of each transition: the states it may come from, and where it leads. `same`: it stays, with something noted.
 * `before`: back to what was in force before, `soak` or `good` as it was, else `idle`.
 */
export const transitions = {
  beginLoad: { from: ['idle', 'soak', 'good', 'failed'], to: ['loading'] },
  adopt: { from: ['idle', 'failed'], to: ['transition'] },
  renumber: { from: ['soak', 'good'], to: ['same'] },
  loaded: { from: ['loading'], to: ['transition'] },
  neverLoaded: { from: ['loading'], to: ['before'] },
  transitioned: { from: ['transition'], to: ['replacing'] },
  replaced: { from: ['replacing'], to: ['soak'] },
  soaked: { from: ['soak'], to: ['good'] },
  reportStuck: { from: ['transition', 'reverting'], to: ['same'] },
  timeOut: { from: ['transition'], to: ['reverting'] },
  indict: { from: ['transition', 'replacing', 'soak'], to: ['reverting'] },
  fail: {
    from: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting'],
    to: ['failed', 'before'],
  },
  beginRevert: { from: ['transition', 'replacing', 'soak', 'good', 'failed'], to: ['reverting'] },
  reverted: { from: ['reverting'], to: ['before'] },
  markShutdown: { from: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting', 'failed'], to: ['same'] },
  crashed: { from: ['loading', 'transition', 'replacing', 'soak', 'reverting'], to: ['idle'] },
  cutOff: { from: ['transition', 'replacing', 'soak'], to: ['idle'] },
  rebooted: {
    from: ['loading', 'transition', 'replacing', 'soak', 'good', 'reverting', 'failed'],
    to: ['idle'],
  },
  handOver: { from: ['idle', 'soak', 'good', 'failed'], to: ['idle'] },
  keep: { from: ['idle'], to: ['soak', 'good'] },
} as const satisfies Record<string, { from: readonly State[]; to: readonly (State | 'same' | 'before')[] }>;
export type TransitionName = keyof typeof transitions;

/** Throws `illegal-transition`, a defect of the agent, where the journal is in another state. */
export function assertSource(name: TransitionName, journal: Journal): void {
  const state = stateOf(journal);
  if (!(transitions[name].from as readonly State[]).includes(state)) {
    throw new AgentError('illegal-transition', `"${name}" is not possible in state ${state}`, {
      details: { transition: name, state },
      hint: 'this is a defect of the agent; nothing was changed; report it with the journal',
    });
  }
}

/** The livepatch that a transition is about; see `assertSource`. */
export function attemptIn(name: TransitionName, journal: Journal): Attempt {
  assertSource(name, journal);
  if (journal.current === null) throw new AgentError('illegal-transition', `"${name}" needs a livepatch`);
  return journal.current;
}
