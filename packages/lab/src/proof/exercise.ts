import { type Area, areaName } from '../areas/choose.ts';
import { type AreaWork, runArea } from '../areas/run.ts';
import type { Host } from '../host.ts';

type Say = (line: string) => void;

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

/** Exercises areas one after the other; one in which something fails, once more: a small machine runs out of things at times. */
export async function exerciseAreas(host: Host, areas: readonly Area[], say: Say): Promise<Done[]> {
  const all: Done[] = [];
  for (const of of new Set(areas)) {
    let work = await runArea(host, of);
    if (work.some(({ outcome }) => outcome === 'failed')) work = await runArea(host, of);
    const told = work.map(({ what, outcome }) => (outcome === 'done' ? what : `${what} ${outcome}`)).join(', ');
    say(`exercised ${areaName(of)}: ${told}`);
    all.push(...work.map((one) => ({ ...one, of })));
  }
  return all;
}

export function judgeAreas(work: readonly Done[]): Suspect[] {
  return work.flatMap(({ of, area, what, outcome, why }) =>
    outcome === 'failed' ? [{ area: of, name: `${area}, ${what}`, why: `${area}, ${what}: ${why ?? 'no word'}` }] : [],
  );
}
