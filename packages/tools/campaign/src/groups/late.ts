import { LATE_NETWORK } from '@kmend/harness';
import { layout } from '../faults/layout.ts';
import type { Finding } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { countOf, LONG_SOAK_S, wrong } from './boots.ts';

/** What comes over the network: the agent's state, or more of what it lies on. */
export const LATE = { state: layout.state, 'var-lib': '/var/lib', var: '/var' } as const;
export type Late = keyof typeof LATE;

/**
 * A mount that waits for the network holds the agent's state: two boots with it, the first one ended in good order or
 * by a cut.
 */
export function lateRound(life: Life, what: Late, end: 'orderly' | 'cut'): Round {
  const id = `${what}/${end}`;
  return { id, run: () => mountedLate(life, id, what, end) };
}

async function mountedLate(life: Life, id: string, what: Late, end: 'orderly' | 'cut'): Promise<RoundResult> {
  const { host } = life.guest;
  const place = LATE[what];
  await life.bring('boot', 'check');
  await life.configure({ soakSeconds: LONG_SOAK_S });
  await host.copyIn(Buffer.from(LATE_NETWORK), '/etc/systemd/system/lab-network.service');
  const units = [...new Set([...layout.resident, ...layout.acting])].join(' ');
  await host.check(
    `systemctl enable lab-network.service && systemctl stop ${units} && mkdir -p /srv/late &&
      cp -a ${place}/. /srv/late/ && rm -r ${layout.state}/* &&
      echo '/srv/late ${place} none bind,_netdev 0 0' >>/etc/fstab && sync`,
    { timeoutMs: 180_000 },
  );
  return await judged(life, id, async () => {
    await host.reboot();
    const first = await life.look();
    const found = await lateness(life, place);
    if (end === 'orderly') await host.reboot();
    else {
      await host.powerOffHard();
      await host.start();
    }
    const second = await life.look();
    found.push(...(await lateness(life, place)), ...ended(second, end));
    const last = await life.heal();
    return {
      what: `${place} over the network`,
      struck: true,
      seen: [first, second],
      last,
      found,
      mayNeedPerson: false,
    };
  });
}

async function lateness(life: Life, place: string): Promise<Finding[]> {
  // Of systemd alone, by its name: before journald runs its lines come through the kernel log, without a process.
  const text = await life.guest.host.check(`journalctl -b -o cat -t systemd | grep -A2 'ordering cycle'
    findmnt -n ${place} >/dev/null || echo 'not mounted'
    systemctl is-active kmend-agent-boot-late.service >/dev/null || echo 'the late unit did not run'
    :`);
  return text === '' ? [] : [wrong(text.slice(0, 1000))];
}

/** The mark of an orderly shutdown is written before the mount goes; without one, a cut is counted. */
export function ended(seen: Observation, end: 'orderly' | 'cut'): Finding[] {
  const cuts = countOf(seen, 'went-down');
  const expected = end === 'cut' ? 1 : 0;
  return cuts === expected ? [] : [wrong(`${cuts} boots are said to have ended without a mark, expected ${expected}`)];
}
