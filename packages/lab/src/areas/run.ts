import { join } from 'node:path';
import { LabError } from '../error.ts';
import type { Host } from '../host.ts';
import { type Area, areaName } from './choose.ts';

const HERE = join(import.meta.dirname, '..', '..', 'guest', 'areas');
const FOLDER = '/run/kmend-lab/areas';
/** Its parts end themselves (`try` of lib.sh); this is for a guest that does not. */
const LIMIT_MS = 900_000;

/** What came of one piece of work of an area. */
export interface AreaWork {
  readonly area: string;
  readonly what: string;
  readonly outcome: 'done' | 'absent' | 'failed';
  /** Why it is absent or failed. */
  readonly why?: string;
}

/** Exercises one part of a host's kernel. `lab-program-failed` when it says nothing. */
export async function runArea(host: Host, area: Area): Promise<AreaWork[]> {
  for (const name of ['lib', area.script]) await host.copyIn(join(HERE, `${name}.sh`), `${FOLDER}/${name}.sh`, 0o755);
  const { stdout, stderr, exitCode } = await host.run(['/bin/sh', `${FOLDER}/${area.script}.sh`, area.part], {
    timeoutMs: LIMIT_MS,
  });
  const work = parseWork(stdout, areaName(area));
  if (work.length > 0) return work;
  throw new LabError(
    'lab-program-failed',
    `${host.name}: exercising ${areaName(area)} ended with ${exitCode} and no word: ${stderr.trim().slice(-500)}`,
  );
}

/** The lines of `try` (guest/areas/lib.sh). */
export function parseWork(printed: string, area: string): AreaWork[] {
  return [...printed.matchAll(/^(done|absent|failed) ([^:\n]+)(?:: (.*))?$/gm)].flatMap(([, outcome, what, why]) => {
    if (what === undefined || (outcome !== 'done' && outcome !== 'absent' && outcome !== 'failed')) return [];
    return [{ area, what, outcome, ...(why === undefined ? {} : { why }) }];
  });
}
