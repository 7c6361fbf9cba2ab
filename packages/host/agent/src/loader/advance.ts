import { type Look, nextStep, pollMs, type Step } from '../decide/advance.ts';
import { blockingTasks, describeBlockers } from '../kernel/blockers.ts';
import { type KernelView, readKernelView } from '../kernel/livepatch.ts';
import { disableLivepatch, removeModule } from '../kernel/loader.ts';
import type { Attempt } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { BROKEN_OFF } from '../state/reconcile.ts';
import { complaintAbout } from './complaint.ts';
import { commit, type Loader, now, wakeSoon } from './context.ts';
import { settleConsolidation } from './settle.ts';

/** Most transitions end within a second or two. */
const SLOW_MS = 5_000;

/**
 * Takes what is in flight one step further, by what the kernel shows now. Returns after how many milliseconds to look
 * again; `undefined` where nothing is in flight.
 */
export async function advance(loader: Loader): Promise<number | undefined> {
  const again = await settleConsolidation(loader);
  const attempt = loader.store.journal.current;
  if (attempt === null) return again;
  const kernel = await readKernelView(loader.edges);
  const elapsedMs = ((await now(loader.edges)).uptime - attempt.sinceUptime) * 1000;
  await noteBlockers(loader, attempt, elapsedMs);
  const complaint = await complaintAbout(loader, attempt, elapsedMs);
  const step = nextStep({ attempt, kernel, elapsedMs, patience: loader.patience, complaint });
  if (step.kind === 'rest') return again;
  if (step.kind === 'wait') return Math.min(step.ms, again ?? step.ms);
  return (await act(loader, step, { attempt, kernel, elapsedMs })) ? 0 : pollMs(elapsedMs);
}

/** Whether to look again at once. */
async function act(
  loader: Loader,
  step: Exclude<Step, { kind: 'rest' | 'wait' }>,
  { attempt, kernel, elapsedMs }: Look & { readonly attempt: Attempt },
): Promise<boolean> {
  switch (step.kind) {
    case 'loaded':
      await commit(loader, machine.loaded);
      return true;
    case 'never-loaded':
      await commit(loader, (journal, moment) => machine.neverLoaded(journal, moment, BROKEN_OFF));
      await wakeSoon(loader);
      return true;
    case 'transitioned':
      await commit(loader, (journal, moment) => machine.transitioned(journal, moment, elapsedMs / 1000));
      return true;
    case 'stuck': {
      const tasks = loader.observed.value.blockers;
      const text = `the transition of ${attempt.module} has taken ${Math.round(elapsedMs / 1000)} s; waiting for ${describeBlockers(tasks)}`;
      await commit(loader, (journal, moment) => machine.reportStuck(journal, moment, text));
      return false;
    }
    case 'time-out': {
      const seconds = Math.round(elapsedMs / 1000);
      const text = `not every task had moved after ${seconds} s; blocked by: ${describeBlockers(loader.observed.value.blockers)}`;
      await commit(loader, (journal, moment) => machine.timeOut(journal, moment, text));
      await disableLivepatch(loader.edges, attempt.module);
      return true;
    }
    case 'indict':
      await commit(loader, (journal, moment) => machine.indict(journal, moment, step.complaint));
      await disableLivepatch(loader.edges, attempt.module);
      return true;
    case 'unload': {
      let all = true;
      for (const module of step.modules) {
        const problem = await removeModule(loader.edges, module);
        if (problem === undefined) loader.log('info', 'unloaded', { module });
        else loader.log('debug', 'not unloaded yet', { module, problem });
        all &&= problem === undefined;
      }
      return all;
    }
    case 'replaced':
      await commit(loader, (journal, moment) => machine.replaced(journal, moment, step.left));
      return true;
    case 'soaked':
      await commit(loader, machine.soaked);
      return true;
    case 'disable':
      await disableLivepatch(loader.edges, attempt.module);
      return false;
    case 'reverted':
      await commit(loader, (journal, moment) => machine.reverted(journal, moment, previousInForce(loader, kernel)));
      await wakeSoon(loader);
      return true;
    case 'vanished': {
      const text = `${attempt.module} is not in force any more: something other than the agent took it out`;
      await commit(loader, (journal, moment) =>
        machine.fail(journal, moment, {
          code: 'load-failed',
          message: text,
          previousInForce: previousInForce(loader, kernel),
        }),
      );
      await wakeSoon(loader);
      return true;
    }
  }
}

/** Keeps what holds a transition up where `status` and reports see it, once it takes longer than most do. */
async function noteBlockers({ edges, observed, patience }: Loader, attempt: Attempt, elapsedMs: number): Promise<void> {
  const moving = attempt.phase === 'transition' || attempt.phase === 'reverting';
  const slow = moving && elapsedMs >= Math.min(patience.stuckMs, SLOW_MS);
  if (!slow && observed.value.blockers.length === 0) return;
  const blockers = slow ? await blockingTasks(edges, attempt.phase === 'reverting' ? 0 : 1) : [];
  if (JSON.stringify(blockers) !== JSON.stringify(observed.value.blockers))
    await observed.save({ ...observed.value, blockers });
}

function previousInForce(loader: Loader, kernel: KernelView): boolean {
  const previous = loader.store.journal.previous?.module;
  return kernel.livepatches.some((it) => it.name === previous && it.enabled);
}
