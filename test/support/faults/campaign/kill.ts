import { layout } from '../layout.ts';
import { AFTERMATH_S } from '../shim.ts';
import { outcome } from './clock.ts';
import { answerKept } from './judge.ts';
import type { Life } from './life.ts';
import { judged, type Round, type RoundResult } from './round.ts';
import { type Place, placeId, planAt, wayTo } from './steps.ts';

/** kill -9 of the agent right before a step; systemd starts it again, and it goes on. */
export function killRound(life: Life, place: Place): Round {
  const id = placeId(place);
  return { id, run: () => killAt(life, id, place) };
}

async function killAt(life: Life, id: string, place: Place): Promise<RoundResult> {
  const { host, faults } = life.guest;
  const { phase } = place;
  await life.bring(phase, wayTo(place));
  await faults.arm({ mode: 'kill', ...planAt(place) });
  return await judged(life, id, async () => {
    const answer = phase === 'boot' ? undefined : await life.order(phase, wayTo(place));
    if (phase === 'boot') await host.reboot();
    const fired = await faults.fired(AFTERMATH_S);
    const during = await life.look();
    await faults.lift();
    if (phase === 'boot') await host.check(`systemctl reset-failed && systemctl start ${layout.resident.join(' ')}`);
    const last = await life.heal(phase === 'boot');
    const found = answerKept(phase === 'revert' ? phase : wayTo(place), answer?.exitCode, last);
    return {
      what: fired.join('; ') || outcome(answer?.stdout ?? ''),
      struck: fired.length > 0,
      seen: [during],
      last,
      found,
      mayNeedPerson: false,
    };
  });
}
