import { setTimeout as sleep } from 'node:timers/promises';
import { MODES, type Mode, type ModeName, modeOf } from '../faults/mirror.ts';
import type { Finding } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import type { Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';

/** Frozen metadata runs out, and a truth that is told first is taken, within so many checks. */
const CHECKS = 5;
const PAUSE_MS = 4_000;

export const THREATS: readonly ModeName[] = MODES.map(({ name }) => name);

/**
 * Everything the host hears of the repository comes from a mirror that attacks it in one way, while a newer livepatch
 * waits. It must report the attack, load nothing because of it, and continue as soon as the mirror is honest again.
 */
export function threatRound(rig: Rig, life: Life, name: ModeName): Round {
  return { id: name, run: () => withstand(rig, life, modeOf(name), name) };
}

async function withstand(rig: Rig, life: Life, mode: Mode, name: ModeName): Promise<RoundResult> {
  const mirror = await rig.mirror();
  await life.bring('replace', 'check', mirror.guestUrl);
  await mirror.be(name);
  try {
    return await judged(life, name, async () => {
      const said: string[] = [];
      const met = (): boolean => mode.codes.length === 0 || mode.codes.some((code) => said.includes(code));
      do {
        if (said.length > 0) await sleep(PAUSE_MS);
        said.push(outcome((await life.ask('check')).stdout));
      } while (!met() && said.length < CHECKS);
      const during = await life.look();
      const found: Finding[] = [];
      if (!met())
        found.push({ harm: 'not-right', text: `said ${said.join(', ')}, expected one of ${mode.codes.join(', ')}` });
      const struck = mirror.answered > 0;
      mirror.beHonest();
      if (mode.heals === 'with new keys') await rig.withoutServer(() => mirror.rotateKeys());
      const last = await healed(life);
      const what = `${mode.threat}: ${said.join(', ')}`;
      return { what, struck, seen: [during], last, found, mayNeedPerson: false };
    });
  } finally {
    mirror.beHonest();
  }
}

/** A slow answer under way has to run into its limit first. */
async function healed(life: Life): Promise<Observation> {
  await life.untilActive();
  for (let left = CHECKS; ; left -= 1) {
    const { exitCode } = await life.ask('check');
    if (exitCode === 0 || left === 1) return await life.look();
    await sleep(PAUSE_MS);
  }
}
