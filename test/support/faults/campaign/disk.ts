import { layout } from '../layout.ts';
import { AFTERMATH_S, type Plan } from '../shim.ts';
import { answerKept } from './judge.ts';
import type { Life } from './life.ts';
import type { Observation } from './observe.ts';
import { judged, type Round, type RoundResult } from './round.ts';
import { type Place, placeId, planAt } from './steps.ts';

/** errno(3) on Linux. */
export const ERRORS = { ENOSPC: 28, EROFS: 30, EIO: 5 } as const;
export type DiskError = keyof typeof ERRORS;

/** How a disk fails at a step: that call alone, everything from there on, or half of a write and then everything. */
export const SPANS = ['one', 'all', 'torn'] as const;
export type Span = (typeof SPANS)[number];

/** One call of the agent fails; when the disk is sound again, the next check goes on. */
export function diskRound(life: Life, place: Place, name: DiskError, span: Span): Round {
  const id = `${placeId(place)}/${name}/${span}`;
  return { id, run: () => failAt(life, id, place, ERRORS[name], span) };
}

async function failAt(life: Life, id: string, place: Place, errno: number, span: Span): Promise<RoundResult> {
  const { faults, host } = life.guest;
  const { phase } = place;
  await life.bring(phase);
  const shape: Partial<Plan> = span === 'torn' ? { span: 'all', short: 1 } : { span };
  await faults.arm({ mode: 'error', errno, ...shape, ...planAt(place) });
  return await judged(life, id, async () => {
    const answer = phase === 'boot' ? undefined : await life.order(phase);
    if (phase === 'boot') await host.reboot();
    const fired = await faults.fired(AFTERMATH_S);
    const during = await life.look();
    await faults.lift();
    if (phase === 'boot') await host.check(`systemctl reset-failed && systemctl start ${layout.resident.join(' ')}`);
    await life.untilActive();
    await life.ask('check');
    const last = await life.look();
    const what = `${fired[0] ?? ''}${fired.length > 1 ? ` and ${fired.length - 1} more` : ''}`;
    const found = answerKept(phase, answer?.exitCode, last);
    return { what, struck: fired.length > 0, seen: [during], last, found, mayNeedPerson: false };
  });
}

/** A file system that is really full, or really read-only, in place of the agent's state. */
export const VOLUMES = {
  /** $1: the folder. A small file system with everything in it and not a byte to spare. */
  full: `cp -a "$1" /root/state && mount -t tmpfs -o size=4m,mode=700 tmpfs "$1" && cp -a /root/state/. "$1/" && rm -rf /root/state
    dd if=/dev/zero of="$1/fill" bs=1k 2>/dev/null; df "$1" | grep -q 100%`,
  /** The same, and no inode left. */
  inodes: `cp -a "$1" /root/state && mount -t tmpfs -o size=16m,nr_inodes=$(($(find "$1" | wc -l) + 1)),mode=700 tmpfs "$1" && cp -a /root/state/. "$1/"
    rm -rf /root/state`,
  readonly: `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"`,
} as const;
export type Volume = keyof typeof VOLUMES;

/** The agent lives through a load with such a state folder, and goes on when it is taken away. */
export function volumeRound(life: Life, volume: Volume): Round {
  const id = `volume/${volume}`;
  return { id, run: () => onVolume(life, id, volume) };
}

async function onVolume(life: Life, id: string, volume: Volume): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('replace');
  return await judged(life, id, async () => {
    const seen: Observation[] = [];
    const resident = layout.resident.join(' ');
    await host.check(['/bin/sh', '-c', `systemctl stop ${resident}; ${VOLUMES[volume]}`, 'sh', layout.state], {
      timeoutMs: 120_000,
    });
    await host.run(`systemctl start ${resident}`, { timeoutMs: 120_000 });
    const { stdout } = await life.ask('check');
    seen.push(await life.look());
    await host.check(
      `systemctl stop ${resident}; umount ${layout.state}; systemctl reset-failed; systemctl start ${resident}`,
      {
        timeoutMs: 120_000,
      },
    );
    await life.untilActive();
    await life.ask('check');
    const last = await life.look();
    const code = /"code": "([a-z-]+)"/.exec(stdout)?.[1] ?? 'no error';
    return { what: `the state folder is ${volume}: ${code}`, struck: true, seen, last, mayNeedPerson: false };
  });
}
