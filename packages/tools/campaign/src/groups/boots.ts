import { BOOT_MARK, ENDING_UNIT, endIn, endingUnit } from '@kmend/harness';
import type { Finding } from '../judge.ts';
import { journalOf, type Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';

/** Longer than any round: whatever is put back by a boot is in its soak until the round is over. */
export const LONG_SOAK_S = 3600;

/**
 * Where a boot ends instead of multi-user.target, and whether the agent's boot unit, which belongs to sysinit.target,
 * is part of it.
 */
export const ELSEWHERE = {
  rescue: { target: 'rescue.target', loads: true },
  emergency: { target: 'emergency.target', loads: false },
  update: { target: 'system-update.target', loads: true },
} as const;
export type Elsewhere = keyof typeof ELSEWHERE;

/** How such a boot ends: orderly, or by a reset without warning. */
export const ENDS = { orderly: 'systemctl --no-block reboot', cut: 'echo b >/proc/sysrq-trigger' } as const;
export type End = keyof typeof ENDS;

/**
 * A boot that never reaches multi-user.target, of a host whose livepatch is good; the next boot has it in force again.
 */
export function elsewhereRound(life: Life, where: Elsewhere, end: End): Round {
  const id = `${where}/${end}`;
  return { id, run: () => bootElsewhere(life, id, where, end) };
}

async function bootElsewhere(life: Life, id: string, where: Elsewhere, end: End): Promise<RoundResult> {
  const { host } = life.guest;
  const { target, loads } = ELSEWHERE[where];
  await life.bring('boot', 'check');
  await life.configure({ soakSeconds: LONG_SOAK_S });
  await host.copyIn(Buffer.from(endingUnit(ENDS[end])), ENDING_UNIT);
  await host.check(endIn(target));
  return await judged(life, id, async () => {
    if (where === 'update') {
      await host.check('ln -s /var/lib /system-update && sync');
      await host.reboot();
    } else {
      await host.check('sync');
      await host.shutdown();
      await host.start({ kernelArguments: [`systemd.unit=${target}`] });
    }
    const mark = await host.check(`cat ${BOOT_MARK} 2>/dev/null || :`);
    const booted = await life.look();
    const last = await life.heal();
    return {
      what: `${target}, ended by: ${ENDS[end]}`,
      struck: mark !== '',
      seen: [booted],
      last,
      found: heldThere(mark, loads ? life.wanted.module : undefined),
      mayNeedPerson: false,
    };
  });
}

/** Whether such a boot had the livepatch that it should have had; `undefined`: none. `mark`: `booted`, then names. */
export function heldThere(mark: string, module: string | undefined): Finding[] {
  const names = mark.split('\n').slice(1).join(' ');
  return mark === '' || names === (module ?? '')
    ? []
    : [{ harm: 'not-right', text: `in that boot there was "${names}", expected "${module ?? ''}"` }];
}

/**
 * How often a livepatch that came through a soak before may go down with its host in the soak of a re-application:
 * docs/agent.md.
 */
const CUTS_KEPT = 2;

/** The power is cut in the soak of a re-application at boot, so many times in a row. */
export function cutRound(life: Life, times: number): Round {
  const id = `cut-in-later-soak/${times}`;
  return { id, run: () => cutInSoak(life, id, times) };
}

async function cutInSoak(life: Life, id: string, times: number): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  await life.configure({ soakSeconds: LONG_SOAK_S });
  await host.reboot();
  return await judged(life, id, async () => {
    const seen: Observation[] = [];
    for (let cut = 0; cut < times; cut++) {
      await host.powerOffHard();
      await host.start();
      seen.push(await life.look());
    }
    const last = await life.heal();
    const kept = times <= CUTS_KEPT;
    const quarantined = last.claims?.quarantined.some((it) => it.serial === life.wanted.serial) === true;
    const found = kept || quarantined ? [] : [wrong(`after ${times} cuts in a row it is not quarantined`)];
    return {
      what: `${times} cuts in a row`,
      struck: countOf(last, 'went-down') > 0,
      seen,
      last,
      found,
      mayNeedPerson: !kept,
    };
  });
}

/** The kernel panics for a reason of its own, when the livepatch is good, or in the soak of its re-application. */
export function panicRound(life: Life, when: 'good' | 'soak'): Round {
  const id = `panic/${when}`;
  return { id, run: () => panicAt(life, id, when) };
}

async function panicAt(life: Life, id: string, when: 'good' | 'soak'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  if (when === 'soak') {
    await life.configure({ soakSeconds: LONG_SOAK_S });
    await host.reboot();
  }
  const begun = await life.look();
  return await judged(life, id, async () => {
    await host.rebootBy(() => host.run('echo c >/proc/sysrq-trigger'));
    const booted = await life.look();
    const last = await life.heal();
    const struck = begun.claims?.state === when;
    return { what: `a panic while it is ${begun.claims?.state}`, struck, seen: [booted], last, mayNeedPerson: false };
  });
}

/** What takes modules no more: by a person's word in a running host, or by one's before the agent's boot unit. */
export function modulesRound(life: Life, when: 'load' | 'replace' | 'boot'): Round {
  const id = `modules-disabled/${when}`;
  return { id, run: () => (when === 'boot' ? noModulesAtBoot(life, id) : noModules(life, id, when)) };
}

const CODE = 'modules-disabled';

async function noModules(life: Life, id: string, phase: 'load' | 'replace'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring(phase, 'check');
  return await judged(life, id, async () => {
    await host.check('sysctl kernel.modules_disabled=1');
    const said = outcome((await life.ask('check')).stdout);
    const during = await life.look();
    await host.reboot();
    const booted = await life.look();
    const last = await life.heal();
    const found = [...(said === CODE ? [] : [wrong(`said ${said}`)]), ...unquarantined(during)];
    return { what: said, struck: true, seen: [during, booted], last, found, mayNeedPerson: false };
  });
}

/** What the guest needs is loaded first: the network, the way to the lab, what the livepatches are for. */
const LOCK = `[Unit]
DefaultDependencies=no
After=local-fs.target
Before=kmend-agent-boot.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'modprobe -a virtio_console virtio_net algif_hash; sysctl kernel.modules_disabled=1'
[Install]
WantedBy=sysinit.target
`;

async function noModulesAtBoot(life: Life, id: string): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  await host.copyIn(Buffer.from(LOCK), '/etc/systemd/system/lab-lock.service');
  await host.check('systemctl enable lab-lock.service && sync');
  return await judged(life, id, async () => {
    await host.reboot();
    const during = await life.look();
    await host.check('systemctl disable lab-lock.service && sync');
    await host.reboot();
    const booted = await life.look();
    const last = await life.heal();
    const struck = during.after.length === 0 && countOf(during, CODE) > 0;
    return {
      what: `${CODE} before the boot unit`,
      struck,
      seen: [during, booted],
      last,
      found: unquarantined(during),
      mayNeedPerson: false,
    };
  });
}

/** Nothing may be quarantined: by the agent's status, or by its journal if the status is not believed. */
export function unquarantined(seen: Observation): Finding[] {
  const all = [...(seen.claims?.quarantined ?? []), ...(journalOf(seen)?.quarantined ?? [])];
  return [...new Set(all.map(({ serial, code }) => `serial ${serial} is quarantined (${code})`))].map(wrong);
}

/** How often the journal has an event. */
export function countOf(seen: Observation, code: string): number {
  return journalOf(seen)?.events.filter((it) => it.code === code).length ?? 0;
}

export function wrong(text: string): Finding {
  return { harm: 'not-right', text };
}
