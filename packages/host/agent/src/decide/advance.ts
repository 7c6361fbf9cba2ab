import { isOverdue, isSoaked } from '@kmend/rules';
import { isOurs, type KernelView } from '../kernel/livepatch.ts';
import type { Attempt } from '../state/journal.ts';

/** What the agent does next with the livepatch in flight, given what the kernel shows. */
export type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  /** Nothing is in flight. */
  | { readonly kind: 'rest' }
  | { readonly kind: 'loaded' }
  /** The load was broken off. */
  | { readonly kind: 'never-loaded' }
  | { readonly kind: 'transitioned' }
  | { readonly kind: 'stuck' }
  /** The transition is taken back: it did not end in its time. */
  | { readonly kind: 'time-out' }
  /** The kernel complained of it: it is reverted. */
  | { readonly kind: 'indict'; readonly complaint: string }
  /** Unload these modules: replaced or reverted, no livepatch any more. */
  | { readonly kind: 'unload'; readonly modules: readonly string[] }
  | { readonly kind: 'replaced'; readonly left: readonly string[] }
  | { readonly kind: 'soaked' }
  | { readonly kind: 'disable' }
  | { readonly kind: 'reverted' }
  | { readonly kind: 'vanished' };

export interface Patience {
  readonly soakMs: number;
  /** After this long a transition is reported as stuck. */
  readonly stuckMs: number;
  /** After this long a transition is taken back, to be tried again later; 0: never. */
  readonly limitMs: number;
  /** How long the kernel may take to release replaced modules. */
  readonly unloadMs: number;
}

/** Milliseconds until the next look at a transition: quick at first (most end within a second), slower later. */
export function pollMs(elapsedMs: number): number {
  if (elapsedMs < 10_000) return 200;
  return elapsedMs < 60_000 ? 1_000 : 5_000;
}

/** How often the kernel log is looked at while a livepatch is watched, in milliseconds. */
export const WATCH_MS = 10_000;

/** What is looked at for the next step. */
export interface Look {
  readonly attempt: Attempt | null;
  readonly kernel: KernelView;
  /** Since the attempt entered its phase. */
  readonly elapsedMs: number;
}

/** Pure. `complaint`: what the kernel said of the attempt. */
export function nextStep({
  attempt,
  kernel,
  elapsedMs,
  patience,
  complaint,
}: Look & {
  readonly patience: Patience;
  readonly complaint?: string | undefined;
}): Step {
  if (attempt === null || attempt.phase === 'failed') return { kind: 'rest' };
  const { phase } = attempt;
  if (complaint !== undefined && (phase === 'transition' || phase === 'replacing' || phase === 'soak'))
    return { kind: 'indict', complaint };
  const mine = kernel.livepatches.find((it) => it.name === attempt.module);
  const poll: Step = { kind: 'wait', ms: pollMs(elapsedMs) };
  switch (attempt.phase) {
    case 'loading':
      // The journal could not be written after the kernel had answered (a full disk): say it now.
      return { kind: mine === undefined ? 'never-loaded' : 'loaded' };
    case 'transition':
      if (mine === undefined || !mine.enabled) return { kind: 'vanished' };
      if (!mine.transition) return { kind: 'transitioned' };
      if (isOverdue(elapsedMs, patience.limitMs)) return { kind: 'time-out' };
      return !attempt.stuck && elapsedMs >= patience.stuckMs ? { kind: 'stuck' } : poll;
    case 'replacing': {
      if (mine === undefined || !mine.enabled) return { kind: 'vanished' };
      const old = kernel.modules.filter((name) => isOurs(name) && name !== attempt.module);
      if (old.length === 0) return { kind: 'replaced', left: [] };
      if (elapsedMs >= patience.unloadMs) return { kind: 'replaced', left: old };
      const free = old.filter((name) => !kernel.livepatches.some((it) => it.name === name));
      return free.length > 0 ? { kind: 'unload', modules: free } : poll;
    }
    case 'soak':
      if (mine === undefined || !mine.enabled) return { kind: 'vanished' };
      if (isSoaked(elapsedMs, patience.soakMs)) return { kind: 'soaked' };
      return { kind: 'wait', ms: Math.min(patience.soakMs - elapsedMs, WATCH_MS) };
    case 'good':
      return mine?.enabled === true ? { kind: 'wait', ms: 60_000 } : { kind: 'vanished' };
    case 'reverting':
      if (mine?.enabled === true) return { kind: 'disable' };
      if (mine !== undefined) return !attempt.stuck && elapsedMs >= patience.stuckMs ? { kind: 'stuck' } : poll;
      return kernel.modules.includes(attempt.module)
        ? { kind: 'unload', modules: [attempt.module] }
        : { kind: 'reverted' };
  }
}
