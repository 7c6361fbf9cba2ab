import type { Plan } from '../faults/shim.ts';
import type { Life } from '../life.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';
import { type Place, placeId } from './steps.ts';
import { strike, type Target } from './strike.ts';

/** errno(3) on Linux. */
export const ERRORS = { ENOSPC: 28, EROFS: 30, EIO: 5 } as const;
export type DiskError = keyof typeof ERRORS;

/** How a disk fails at a step: that call alone, everything from there on, or half of a write and then everything. */
export const SPANS = ['one', 'all', 'torn'] as const;
export type Span = (typeof SPANS)[number];

/** One call of the agent fails; when the disk is sound again, the next check continues. */
export function diskRound(life: Life, place: Place, name: DiskError, span: Span): Round {
  const id = `${placeId(place)}/${name}/${span}`;
  return { id, run: () => failAt(life, { id, place }, ERRORS[name], span) };
}

function failAt(life: Life, target: Target, errno: number, span: Span): Promise<RoundResult> {
  const shape: Partial<Plan> = span === 'torn' ? { span: 'all', short: 1 } : { span };
  const told = ([first = '', ...more]: readonly string[]): string =>
    more.length > 0 ? `${first} and ${more.length} more` : first;
  return strike(life, target, { mode: 'error', errno, ...shape }, told);
}

/**
 * Another file system in place of the agent's state ($1), with everything in it, and with these options for tmpfs(5).
 */
const moved = (options: string): string =>
  `cp -a "$1" /root/state && mount -t tmpfs -o "mode=755,${options}" tmpfs "$1" && cp -a /root/state/. "$1/" && rm -rf /root/state`;

/** A state folder that is really full, or really read-only. */
export const VOLUMES = {
  /** Not a byte to spare. */
  full: `${moved('size=$(($(du -sk "$1" | cut -f1) + 300))k')} && { dd if=/dev/zero of="$1/fill" bs=1k 2>/dev/null; df "$1" | grep -q 100%; }`,
  /** Not an inode to spare. */
  inodes: moved('nr_inodes=$(($(find "$1" | wc -l) + 1))'),
  readonly: 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"',
} as const;
export type Volume = keyof typeof VOLUMES;

/** The agent survives a load with such a state folder, and continues when it is taken away. */
export function volumeRound(life: Life, volume: Volume): Round {
  const id = `volume/${volume}`;
  return { id, run: () => onVolume(life, id, volume) };
}

async function onVolume(life: Life, id: string, volume: Volume): Promise<RoundResult> {
  await life.bring('replace', 'check');
  return await judged(life, id, async () => {
    await life.stopped(VOLUMES[volume]);
    const said = outcome((await life.ask('check')).stdout);
    const during = await life.look();
    await life.stopped('umount "$1"');
    const last = await life.heal();
    return { what: `the state folder is ${volume}: ${said}`, struck: true, seen: [during], last, mayNeedPerson: false };
  });
}
