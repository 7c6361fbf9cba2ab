import { layout } from '../faults/layout.ts';
import type { Plan } from '../faults/shim.ts';
import { answerKept } from '../judge.ts';
import type { Life } from '../life.ts';
import { judged, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';
import { type Place, planAt, wayTo } from './steps.ts';

export interface Target {
  /** Of the round. */
  readonly id: string;
  readonly place: Place;
}

/**
 * A fault at one step of a running host, from a known state to the state it ends in: armed, provoked, looked at,
 * lifted, healed. `told`: what the round says of the steps at which it struck; nothing struck is told by what the host
 * answered.
 */
export async function strike(
  life: Life,
  { id, place }: Target,
  fault: Plan,
  told: (fired: readonly string[]) => string,
): Promise<RoundResult> {
  const { host, faults } = life.guest;
  const { phase } = place;
  await life.bring(phase, wayTo(place));
  await faults.arm({ ...fault, ...planAt(place) });
  return await judged(life, id, async () => {
    const answer = phase === 'boot' ? undefined : await life.order(phase, wayTo(place));
    if (phase === 'boot') await host.reboot();
    const fired = await faults.struck();
    const during = await life.look();
    await faults.lift();
    if (phase === 'boot') await host.check(`systemctl reset-failed && systemctl start ${layout.resident.join(' ')}`);
    const last = await life.heal(phase === 'boot');
    const found = answerKept(phase === 'revert' ? phase : wayTo(place), answer?.exitCode, last);
    const struck = fired.length > 0;
    const what = struck ? told(fired) : outcome(answer?.stdout ?? '');
    return { what, struck, seen: [during], last, found, mayNeedPerson: false };
  });
}
