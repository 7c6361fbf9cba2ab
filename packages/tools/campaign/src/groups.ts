import { BAD, badRound, neverEndsRound } from './groups/bad.ts';
import {
  cutRound,
  ELSEWHERE,
  type Elsewhere,
  ENDS,
  type End,
  elsewhereRound,
  modulesRound,
  panicRound,
} from './groups/boots.ts';
import { captureRound } from './groups/capture.ts';
import { bootClockRound, clockRound } from './groups/clock.ts';
import { type DiskError, diskRound, ERRORS, SPANS, VOLUMES, type Volume, volumeRound } from './groups/disk.ts';
import { chrootRound, cloneRound } from './groups/image.ts';
import { killRound } from './groups/kill.ts';
import { lateRound } from './groups/late.ts';
import { outageRound } from './groups/outage.ts';
import { powerRound } from './groups/power.ts';
import { evenly, inTurn, places, type Steps } from './groups/steps.ts';
import { THREATS, threatRound } from './groups/threats.ts';
import { crowdRound, secondRound } from './groups/together.ts';
import { snapshotRound, twinsRound } from './groups/twin.ts';
import type { Life } from './life.ts';
import type { Rig } from './rig.ts';
import type { Round } from './round.ts';

export interface Around {
  readonly rig: Rig;
  readonly life: Life;
  /** Present if the group requires it. */
  readonly steps: Steps | undefined;
  /** How many rounds are wanted. */
  readonly count: number;
}

export interface Group {
  readonly name: string;
  /** Wants a traced life first. */
  readonly needsSteps: boolean;
  rounds(around: Around): Round[];
}

const RUNNING = ['load', 'replace', 'revert'] as const;
/** What the steps in caches and the like get of the rounds: they are many and alike. */
const KEPT_SHARE = 0.1;
const POWER_CUTS = 100;

/**
 * Steps that the agent has for certain: enough for the short form, which does without a traced life. All of one phase,
 * led to once.
 */
export const SHORT_STEPS: Steps = {
  load: { journalled: 0, repository: 0, fetched: 0, seen: 0 },
  replace: { journalled: 34, repository: 0, fetched: 0, seen: 0 },
  revert: { journalled: 0, repository: 0, fetched: 0, seen: 0 },
  boot: { journalled: 0, repository: 0, fetched: 0, seen: 0 },
};

/** Rounds of each group in the short form; hostile mirrors are tried there without a guest (mirror.test.ts). */
export const SHORT_ROUNDS: Readonly<Record<string, number>> = {
  kill: 1,
  power: 1,
  disk: 1,
  livepatch: 1,
};

export const groups: readonly Group[] = [
  {
    name: 'kill',
    needsSteps: true,
    rounds: ({ life, steps, count }) => chosen(steps, count).map((place) => killRound(life, place)),
  },
  {
    name: 'power',
    needsSteps: true,
    rounds({ life, steps, count }) {
      const list = chosen(steps, Math.min(count, POWER_CUTS));
      const turns = Math.ceil(Math.min(count, POWER_CUTS) / list.length);
      return Array.from({ length: turns }, (_, turn) => list.map((place) => powerRound(life, place, turn + 1))).flat();
    },
  },
  {
    name: 'disk',
    needsSteps: true,
    rounds({ life, steps, count }) {
      const volumes = evenly(Object.keys(VOLUMES), Math.floor(count / 4));
      const kinds = Object.keys(ERRORS).flatMap((name) => SPANS.map((span) => ({ name: name as DiskError, span })));
      // Each step fails in another way than the one before it; all ways come round.
      const faults = chosen(steps, count - volumes.length).map((place, at) => ({ place, ...cycled(kinds, at) }));
      return [
        ...volumes.map((volume) => volumeRound(life, volume as Volume)),
        ...faults.map(({ place, name, span }) => diskRound(life, place, name, span)),
      ];
    },
  },
  {
    name: 'clock',
    needsSteps: false,
    rounds({ life, count }) {
      const running = RUNNING.flatMap((phase) => [10, -10].map((years) => clockRound(life, years, phase)));
      const boots = [10, -10].flatMap((years) => [false, true].map((cut) => bootClockRound(life, years, cut)));
      return evenly([...running, ...boots], count);
    },
  },
  {
    name: 'outage',
    needsSteps: false,
    rounds: ({ rig, life, count }) =>
      evenly(
        (['load', 'replace', 'boot'] as const).map((phase) => outageRound(rig, life, phase)),
        count,
      ),
  },
  {
    // Boots that end elsewhere, and hosts that go down for a reason of their own.
    name: 'boot',
    needsSteps: false,
    rounds({ rig, life, count }) {
      const elsewhere = Object.keys(ELSEWHERE).flatMap((where) =>
        Object.keys(ENDS).map((end) => elsewhereRound(life, where as Elsewhere, end as End)),
      );
      const later = (['good', 'soak'] as const).flatMap((when) => [
        panicRound(life, when),
        captureRound(rig, life, when),
      ]);
      return evenly([...elsewhere, ...later, ...[2, 3].map((times) => cutRound(life, times))], count);
    },
  },
  {
    name: 'late',
    needsSteps: false,
    rounds: ({ life, count }) =>
      evenly(
        (['state', 'var-lib', 'var'] as const).flatMap((what) =>
          (['orderly', 'cut'] as const).map((end) => lateRound(life, what, end)),
        ),
        count,
      ),
  },
  {
    name: 'image',
    needsSteps: false,
    rounds: ({ rig, life, count }) => evenly([chrootRound(rig, life), cloneRound(rig, life)], count),
  },
  {
    name: 'modules',
    needsSteps: false,
    rounds: ({ life, count }) =>
      evenly(
        (['load', 'replace', 'boot'] as const).map((when) => modulesRound(life, when)),
        count,
      ),
  },
  {
    name: 'twin',
    needsSteps: false,
    rounds: ({ rig, life, count }) =>
      evenly([snapshotRound(rig, life, 'equal'), snapshotRound(rig, life, 'lower'), twinsRound(rig, life)], count),
  },
  {
    // Before what publishes more: the attacks are on the newest livepatch.
    name: 'threat',
    needsSteps: false,
    rounds: ({ rig, life, count }) => evenly(THREATS, count).map((name) => threatRound(rig, life, name)),
  },
  {
    name: 'livepatch',
    needsSteps: false,
    rounds: ({ rig, life, count }) =>
      evenly(
        [
          ...BAD.map((bad) => badRound(rig, life, bad)),
          ...[false, true].map((limited) => neverEndsRound(rig, life, limited)),
        ],
        count,
      ),
  },
  {
    name: 'together',
    needsSteps: false,
    rounds({ life, count }) {
      const crowds = [
        ['check', 'check', 'check'],
        ['check', 'revert', 'status'],
        ['revert', 'resume', 'check'],
      ];
      const seconds = RUNNING.map((phase) => secondRound(life, phase));
      return evenly([...seconds, ...crowds.map((orders) => crowdRound(life, orders))], count);
    },
  },
];

/** Every step where something cannot be taken back, and some of what is kept besides. */
function chosen(steps: Steps | undefined, count: number) {
  if (steps === undefined) throw new Error('the steps were not traced');
  const all = places(steps, 'journalled', [...RUNNING, 'boot']);
  const kept = (['repository', 'fetched', 'seen'] as const).flatMap((name) => places(steps, name, RUNNING));
  const most = Math.floor(Math.min(count, all.length) * KEPT_SHARE);
  return [...inTurn(evenly(all, count - most)), ...inTurn(evenly(kept, most))];
}

function cycled<T>(list: readonly T[], at: number): T {
  return list[at % list.length] as T;
}
