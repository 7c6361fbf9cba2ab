import type { Life } from '../life.ts';
import { judged, type Round, type RoundResult } from '../round.ts';

const YEAR_MS = 365.25 * 24 * 3600 * 1000;

/** The clock of a running host jumps by years, in the middle of its life: then a check, then it is right again. */
export function clockRound(life: Life, years: number, phase: 'load' | 'replace' | 'revert'): Round {
  const id = `running/${years}/${phase}`;
  return { id, run: () => jump(life, id, years, phase) };
}

async function jump(life: Life, id: string, years: number, phase: 'load' | 'replace' | 'revert'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring(phase, 'check');
  return await judged(life, id, async () => {
    await setClock(life, new Date(Date.now() + years * YEAR_MS));
    const { stdout } = await life.order(phase, 'check');
    const wrong = await life.look();
    await setClock(life, new Date());
    await host.check('systemctl reset-failed');
    const last = await life.heal(true);
    return { what: `${years} years: ${outcome(stdout)}`, struck: true, seen: [wrong], last, mayNeedPerson: false };
  });
}

/**
 * The host is switched on with a clock that is wrong by years, re-applies what it had, and is switched on again with
 * the right one.
 */
export function bootClockRound(life: Life, years: number, cut: boolean): Round {
  const id = `boot/${years}/${cut ? 'cut' : 'orderly'}`;
  return { id, run: () => bootWrong(life, id, years, cut) };
}

async function bootWrong(life: Life, id: string, years: number, cut: boolean): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  return await judged(life, id, async () => {
    const off = (): Promise<void> => (cut ? host.powerOffHard() : host.shutdown());
    await off();
    await host.start({ clock: new Date(Date.now() + years * YEAR_MS) });
    const booted = await life.look();
    const { stdout } = await life.ask('check');
    const checked = await life.look();
    await off();
    await host.start();
    const again = await life.look();
    const last = await life.heal();
    const back = booted.after.some((it) => it.enabled) ? 'back at boot' : 'not back at boot';
    const what = `${years} years at power on: ${back}; ${outcome(stdout)}`;
    return { what, struck: true, seen: [booted, checked, again], last, mayNeedPerson: false };
  });
}

export async function setClock({ guest }: Life, to: Date): Promise<void> {
  await guest.host.check(['date', '-u', '-s', `@${Math.round(to.getTime() / 1000)}`]);
}

/** The code of an error, or what was done. */
export function outcome(stdout: string): string {
  return /"code": "([a-z-]+)"/.exec(stdout)?.[1] ?? /"action": "([a-z]+)"/.exec(stdout)?.[1] ?? 'no answer';
}
