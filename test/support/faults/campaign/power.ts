import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@kmend/lab';
import { PEACE, STOPPED } from '../shim.ts';
import type { Life } from './life.ts';
import { judged, type Round, type RoundResult } from './round.ts';
import { type Place, placeId, planAt } from './steps.ts';

const PATIENCE_MS = 180_000;
const POLL_MS = 20;

/** The power is cut while the agent stands right before a step. What it had not made durable is lost. */
export function powerRound(life: Life, place: Place, turn: number): Round {
  const id = `${placeId(place)}#${turn}`;
  return { id, run: () => cutAt(life, id, place) };
}

async function cutAt(life: Life, id: string, place: Place): Promise<RoundResult> {
  const { host, faults } = life.guest;
  const { phase } = place;
  await life.bring(phase);
  const shown = host.console().length;
  await faults.arm({ mode: 'stop', ...planAt(place) });
  return await judged(life, id, async () => {
    // Who asked loses the host under the question.
    const asked = (phase === 'boot' ? host.reboot() : life.order(phase)).then(
      () => true,
      () => false,
    );
    const what = await stopOn(host, shown, asked);
    await host.powerOffHard();
    await asked;
    await host.start({ kernelArguments: [PEACE] });
    const booted = await life.look();
    await faults.lift();
    await life.untilActive();
    await life.ask('check');
    const last = await life.look();
    return {
      what: what ?? 'the step never came',
      struck: what !== undefined,
      seen: [booted],
      last,
      mayNeedPerson: true,
    };
  });
}

/** What the library said when it stopped the agent; `undefined`: the question was answered first. */
async function stopOn(host: Host, from: number, asked: Promise<boolean>): Promise<string | undefined> {
  const until = performance.now() + PATIENCE_MS;
  let answered = false;
  void asked.then(() => {
    answered = true;
  });
  while (performance.now() < until) {
    const found = STOPPED.exec(host.console().slice(from))?.[1];
    if (found !== undefined) return found;
    if (answered) return undefined;
    await sleep(POLL_MS);
  }
  return undefined;
}
