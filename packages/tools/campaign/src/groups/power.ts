import { setTimeout as sleep } from 'node:timers/promises';
import { PEACE, STOPPED } from '../faults/shim.ts';
import type { Life } from '../life.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';
import { type Place, placeId, planAt, wayTo } from './steps.ts';

const PATIENCE_MS = 180_000;
const POLL_MS = 20;
const ASK_MS = 500;
/** How long one command in the guest watches: one that the host's own boot ends is begun again. */
const WATCH_S = 20;

/** The power is cut while the agent stands right before a step. What it had not made durable is lost. */
export function powerRound(life: Life, place: Place, turn: number): Round {
  const id = `${placeId(place)}#${turn}`;
  return { id, run: () => cutAt(life, id, place) };
}

async function cutAt(life: Life, id: string, place: Place): Promise<RoundResult> {
  const { host, faults } = life.guest;
  const { phase } = place;
  await life.bring(phase, wayTo(place));
  const shown = host.console().length;
  await faults.arm({ mode: 'stop', ...planAt(place) });
  return await judged(life, id, async () => {
    // Who asked loses the host under the question.
    const asked = (phase === 'boot' ? host.reboot() : life.order(phase, wayTo(place))).then(
      (answer) => outcome(answer?.stdout ?? ''),
      () => 'no answer',
    );
    const what = await stopOn(life, shown, asked);
    await host.powerOffHard();
    const answer = await asked;
    await host.start({ kernelArguments: [PEACE] });
    const booted = await life.look();
    await faults.lift();
    const last = await life.heal();
    return {
      what: what ?? answer,
      struck: what !== undefined,
      seen: [booted],
      last,
      mayNeedPerson: true,
    };
  });
}

/** What the library said when it stopped the agent; `undefined`: the question was answered first. */
async function stopOn(life: Life, from: number, asked: Promise<unknown>): Promise<string | undefined> {
  const { host, faults } = life.guest;
  const until = performance.now() + PATIENCE_MS;
  let done = false;
  void asked
    .then(() => faults.rest())
    .catch(() => undefined)
    .then(() => {
      done = true;
    });
  // A process without rights to the kernel log says it in a file alone, which is there once the host is up.
  let told: string | undefined;
  const ask = async (): Promise<void> => {
    while (!done && told === undefined) {
      told = (await faults.struckWithin(WATCH_S).catch(() => []))[0];
      await sleep(ASK_MS);
    }
  };
  void ask();
  while (performance.now() < until) {
    const found = STOPPED.exec(host.console().slice(from))?.[1] ?? told;
    if (found !== undefined || done) {
      done = true;
      return found;
    }
    await sleep(POLL_MS);
  }
  done = true;
  return undefined;
}
