import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import type { Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome, setClock } from './clock.ts';

const DAY_MS = 24 * 3600 * 1000;

/** Longer than any role's signature holds (packages/repository/trust, `lifetimes`). */
const LONG_MS = 500 * DAY_MS;

/**
 * The server is down until all the signed metadata that the host has is over: the guest's clock runs ahead. What is in
 * force stays in force, over a reboot too; nothing new comes; when the server is back, it continues.
 */
export function outageRound(rig: Rig, life: Life, phase: 'load' | 'replace' | 'boot'): Round {
  const id = `outage/${phase}`;
  return { id, run: () => outlive(rig, life, id, phase) };
}

async function outlive(rig: Rig, life: Life, id: string, phase: 'load' | 'replace' | 'boot'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring(phase, 'check');
  return await judged(life, id, async () => {
    const seen: Observation[] = [];
    const said = await rig.withoutServer(async () => {
      const words: string[] = [];
      const ask = async (): Promise<void> => void words.push(outcome((await life.ask('check')).stdout));
      await ask();
      await setClock(life, new Date(Date.now() + LONG_MS));
      await ask();
      seen.push(await life.look());
      await host.shutdown();
      await host.start({ clock: new Date(Date.now() + LONG_MS) });
      seen.push(await life.look());
      await ask();
      seen.push(await life.look());
      return words;
    });
    // The server is back, but for this host its metadata is of long ago.
    said.push(outcome((await life.ask('check')).stdout));
    seen.push(await life.look());
    await setClock(life, new Date());
    const last = await life.heal(true);
    return { what: said.join(', '), struck: true, seen, last, mayNeedPerson: false };
  });
}
