import { join } from 'node:path';
import { LabError } from '../error.ts';
import type { Exercise } from '../exercise.ts';
import type { Host } from '../host.ts';
import { type Area, areaName } from './choose.ts';

const HERE = join(import.meta.dirname, '..', '..', 'guest', 'areas');
const FOLDER = '/run/kmend-lab/areas';
/** Its parts end themselves (`try` of lib.sh); this is for a guest that does not. */
const LIMIT_MS = 1_800_000;

/** The outcome of one piece of work of an area. */
export interface AreaWork {
  readonly area: string;
  readonly what: string;
  readonly outcome: 'done' | 'absent' | 'failed';
  /** Why it is absent or failed; of a piece that is done, how many of its requests the kernel refused. */
  readonly why?: string;
}

/** `Lab.exercise`. */
export type SystemExercise = (host: Host, seconds: number) => Promise<Exercise>;

const SYSTEM_S = 10;

/** Exercises one part of a host's kernel. `lab-program-failed` when it says nothing. */
export async function runArea(host: Host, area: Area, system: SystemExercise): Promise<AreaWork[]> {
  if (area.script === 'system') return systemWork(await system(host, SYSTEM_S), areaName(area));
  for (const name of ['lib', area.script]) await host.copyIn(join(HERE, `${name}.sh`), `${FOLDER}/${name}.sh`, 0o755);
  const { stdout, stderr, exitCode } = await host.run(['/bin/bash', `${FOLDER}/${area.script}.sh`, area.part], {
    timeoutMs: LIMIT_MS,
  });
  const work = parseWork(stdout, areaName(area));
  if (work.length > 0) return work;
  throw new LabError(
    'lab-program-failed',
    `${host.name}: exercising ${areaName(area)} ended with ${exitCode} and no report: ${stderr.trim().slice(-500)}`,
  );
}

/** Each area of the program is a piece of work. */
export function systemWork({ areas, failures, skipped }: Exercise, area: string): AreaWork[] {
  const apart = (line: string): [string, string] => {
    const at = line.indexOf(': ');
    return [line.slice(0, at), line.slice(at + 2)];
  };
  const failed = new Map(failures.map(apart));
  return [
    ...Object.keys(areas).map((what): AreaWork => {
      const why = failed.get(what);
      return why === undefined ? { area, what, outcome: 'done' } : { area, what, outcome: 'failed', why };
    }),
    ...skipped.map((line): AreaWork => {
      const [what, why] = apart(line);
      return { area, what, outcome: 'absent', why };
    }),
  ];
}

/** The lines of `try` (guest/areas/lib.sh). */
export function parseWork(printed: string, area: string): AreaWork[] {
  return [...printed.matchAll(/^(done|absent|failed) ([^:\n]+)(?:: (.*))?$/gm)].flatMap(([, outcome, what, why]) => {
    if (what === undefined || (outcome !== 'done' && outcome !== 'absent' && outcome !== 'failed')) return [];
    return [{ area, what, outcome, ...(why === undefined ? {} : { why }) }];
  });
}
