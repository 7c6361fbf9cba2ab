import { type Area, areaName } from '../areas/choose.ts';
import { type AreaWork, runArea, type SystemExercise } from '../areas/run.ts';
import type { Host } from '../host.ts';

type Say = (line: string) => void;

/** Receivers of what is exercised. */
export interface ExerciseNews {
  /** The outcome of each piece of work. */
  readonly say: Say;
  /** What begins now: each may take minutes. */
  readonly begin?: Say;
}

/** An area with a piece of work that failed, each time it was tried. */
export interface Suspect {
  readonly area: Area;
  /** Area and piece of work. */
  readonly name: string;
  readonly why: string;
}

export interface Done extends AreaWork {
  readonly of: Area;
}

/**
 * Exercises areas one after the other. An area in which something fails is exercised once more: a small machine runs
 * out of things at times.
 */
export async function exerciseAreas(
  host: Host,
  areas: readonly Area[],
  system: SystemExercise,
  { say, begin = () => {} }: ExerciseNews,
): Promise<Done[]> {
  const all: Done[] = [];
  for (const of of new Set(areas)) {
    begin(`exercise ${areaName(of)}`);
    let work = await runArea(host, of, system);
    if (work.some(({ outcome }) => outcome === 'failed')) {
      begin(`exercise ${areaName(of)} once more`);
      work = await runArea(host, of, system);
    }
    for (const { what, outcome, why } of work)
      say(`exercised ${areaName(of)}: ${what} ${outcome}${why === undefined ? '' : `: ${why}`}`);
    all.push(...work.map((one) => ({ ...one, of })));
  }
  return all;
}

export function judgeAreas(work: readonly Done[]): Suspect[] {
  return work.flatMap(({ of, area, what, outcome, why }) =>
    outcome === 'failed'
      ? [{ area: of, name: `${area}, ${what}`, why: `${area}, ${what}: ${why ?? 'no reason given'}` }]
      : [],
  );
}
