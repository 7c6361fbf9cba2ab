import { nextStep, pollMs, type Step } from '../decide/advance.ts';
import { blockingTasks, describeBlockers } from '../kernel/blockers.ts';
import { type KernelView, readKernelView } from '../kernel/livepatch.ts';
import { disableLivepatch, removeModule } from '../kernel/loader.ts';
import type { Attempt } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { type Agent, commit, now } from './context.ts';

/**
 * Takes what is in flight one step further, by what the kernel shows now. Returns after how many milliseconds to look
 * again; `undefined` where nothing is in flight.
 */
export async function advance(agent: Agent): Promise<number | undefined> {
  const attempt = agent.store.journal.current;
  if (attempt === null) return undefined;
  const kernel = await readKernelView(agent.edges);
  const elapsedMs = ((await now(agent.edges)).uptime - attempt.sinceUptime) * 1000;
  const step = nextStep(attempt, kernel, elapsedMs, agent.patience);
  if (step.kind === 'rest') return undefined;
  if (step.kind === 'wait') return step.ms;
  return (await act(agent, attempt, kernel, step, elapsedMs)) ? 0 : pollMs(elapsedMs);
}

/** Whether to look again at once. */
async function act(
  agent: Agent,
  attempt: Attempt,
  kernel: KernelView,
  step: Exclude<Step, { kind: 'rest' | 'wait' }>,
  elapsedMs: number,
): Promise<boolean> {
  switch (step.kind) {
    case 'loaded':
      await commit(agent, machine.loaded);
      return true;
    case 'transitioned':
      await commit(agent, (journal, moment) => machine.transitioned(journal, moment, elapsedMs / 1000));
      return true;
    case 'stuck': {
      const tasks = await blockingTasks(agent.edges, attempt.phase === 'reverting' ? 0 : 1);
      const text = `the transition of ${attempt.module} has taken ${Math.round(elapsedMs / 1000)} s; waiting for ${describeBlockers(tasks)}`;
      await commit(agent, (journal, moment) => machine.reportStuck(journal, moment, text));
      return false;
    }
    case 'unload': {
      let all = true;
      for (const module of step.modules) {
        const problem = await removeModule(agent.edges, module);
        if (problem === undefined) agent.log('info', 'unloaded', { module });
        else agent.log('debug', 'not unloaded yet', { module, problem });
        all &&= problem === undefined;
      }
      return all;
    }
    case 'replaced':
      await commit(agent, (journal, moment) => machine.replaced(journal, moment, step.left));
      return true;
    case 'soaked':
      await commit(agent, machine.soaked);
      return true;
    case 'disable':
      await disableLivepatch(agent.edges, attempt.module);
      return false;
    case 'reverted':
      await commit(agent, (journal, moment) => machine.reverted(journal, moment, previousInForce(agent, kernel)));
      return true;
    case 'vanished': {
      const text = `${attempt.module} is not in force any more: something other than the agent took it out`;
      await commit(agent, (journal, moment) =>
        machine.fail(journal, moment, 'load-failed', text, previousInForce(agent, kernel)),
      );
      return true;
    }
  }
}

function previousInForce(agent: Agent, kernel: KernelView): boolean {
  const previous = agent.store.journal.previous?.module;
  return kernel.livepatches.some((it) => it.name === previous && it.enabled);
}
