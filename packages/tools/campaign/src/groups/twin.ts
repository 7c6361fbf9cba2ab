import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { wrong } from './boots.ts';

const REPORT_MS = 120_000;

/**
 * A host is set back to a snapshot, with its memory, after it has told the server more: what it tells then has the
 * number of a report that the server has (`equal`), or an older one (`lower`), and says something else.
 */
export function snapshotRound(rig: Rig, life: Life, number: 'equal' | 'lower'): Round {
  const id = `snapshot/${number}`;
  return { id, run: () => setBack(rig, life, id, number) };
}

async function setBack(rig: Rig, life: Life, id: string, number: 'equal' | 'lower'): Promise<RoundResult> {
  await life.bring('boot', 'check');
  const host = await idOf(life);
  return await judged(life, id, async () => {
    const found: Finding[] = [];
    const tell = async (serial: number | null, ...orders: readonly string[][]): Promise<void> => {
      for (const words of orders) await life.must(...words);
      found.push(...(await shown(rig, host, serial)));
    };
    await tell(null, ['revert']);
    if (number === 'lower') {
      await tell(life.wanted.serial, ['resume'], ['check']);
      await tell(null, ['revert']);
    }
    await life.bring('boot', 'check');
    await tell(1, ['apply', '--serial', '1']);
    const during = await life.look();
    await tell(life.wanted.serial, ['resume'], ['check']);
    const last = await life.heal(true);
    return { what: `set back: ${number} numbers`, struck: true, seen: [during], last, found, mayNeedPerson: false };
  });
}

/**
 * Two machines are up in turns with one identity and one machine-id: both are heard, and the server says that there are
 * two.
 */
export function twinsRound(rig: Rig, life: Life): Round {
  const id = 'clones/in-turns';
  return { id, run: () => inTurns(rig, life, id) };
}

async function inTurns(rig: Rig, life: Life, id: string): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  const hostId = await idOf(life);
  return await judged(life, id, async () => {
    const found: Finding[] = [];
    await host.reboot();
    await life.must('apply', '--serial', '1');
    found.push(...(await shown(rig, hostId, 1)));
    const one = await life.look();
    const name = `twin-${Date.now()}`;
    await host.save(name);
    await life.bring('boot', 'check');
    await host.reboot();
    await life.must('check');
    const two = await life.look();
    found.push(...(await shown(rig, hostId, life.wanted.serial)));
    const before = (await rig.api.showHost(hostId)).otherMachines?.length ?? 0;
    await host.restore(name);
    await life.must('resume');
    await life.must('check');
    found.push(...(await shown(rig, hostId, life.wanted.serial)));
    const after = (await rig.api.showHost(hostId)).otherMachines?.length ?? 0;
    if (after === 0) found.push(wrong('the server shows one machine where there are two'));
    const last = await life.heal(true);
    const what = `other machines shown: ${before}, then ${after}`;
    return { what, struck: true, seen: [one, two], last, found, mayNeedPerson: false };
  });
}

async function idOf(life: Life): Promise<string> {
  const { claims, said } = await life.look();
  if (claims === undefined) throw new Error(`no status: ${said}`);
  return claims.hostId;
}

/** Waits until the server shows that this serial is in force (`null`: none); a finding where it does not. */
async function shown(rig: Rig, hostId: string, serial: number | null): Promise<Finding[]> {
  for (const until = performance.now() + REPORT_MS; ; await sleep(1_000)) {
    const { effectiveSerial, status } = await rig.api.showHost(hostId);
    if (tells({ effectiveSerial, loaded: status.loaded.state }, serial)) return [];
    if (performance.now() > until)
      return [wrong(`the server shows serial ${effectiveSerial} (${status.loaded.state}), the host told ${serial}`)];
  }
}

export function tells(
  told: { readonly effectiveSerial: number | null; readonly loaded: string },
  serial: number | null,
): boolean {
  return told.effectiveSerial === serial && (told.loaded === 'loaded') === (serial !== null);
}
