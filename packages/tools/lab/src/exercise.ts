import { parseJson } from '@kmend/base';
import { z } from 'zod';
import { LabError } from './error.ts';
import type { Host } from './host.ts';

const PROGRAM = '/run/kmend-lab/exercise';
/** How much longer than requested the program may take on a busy host. */
const PATIENCE_MS = 240_000;

const Report = z.record(
  z.string(),
  z.object({
    rounds: z.number(),
    operations: z.number(),
    failures: z.number(),
    status: z.number(),
    first: z.string(),
    absent: z.string(),
  }),
);

/** What an exercise did to a kernel, and what went wrong. */
export interface Exercise {
  readonly operations: number;
  /** Operations by area. */
  readonly areas: Readonly<Record<string, number>>;
  /** What this kernel does not have, `area: feature`: it was not exercised. */
  readonly skipped: readonly string[];
  /** An area and its first failure each; empty when all went well. */
  readonly failures: readonly string[];
}

export async function exercise(host: Host, program: string, seconds: number): Promise<Exercise> {
  await host.copyIn(program, PROGRAM, 0o755);
  const result = await host.run([PROGRAM, String(seconds)], { timeoutMs: seconds * 1000 + PATIENCE_MS });
  const found = parseExercise(result.stdout);
  if (found === undefined) {
    throw new LabError(
      'lab-program-failed',
      `${host.name}: the exercise ended with ${result.exitCode} and no report: ${result.stderr.trim()}`,
    );
  }
  return found;
}

/** The program's report; `undefined` for an invalid one. */
export function parseExercise(text: string): Exercise | undefined {
  const parsed = Report.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const all = Object.entries(parsed.data);
  return {
    operations: all.reduce((sum, [, { operations }]) => sum + operations, 0),
    areas: Object.fromEntries(all.map(([name, { operations }]) => [name, operations])),
    skipped: all.flatMap(([name, { absent }]) =>
      absent.split(',').flatMap((what) => (what === '' ? [] : [`${name}: ${what}`])),
    ),
    failures: all.flatMap(([name, { rounds, operations, failures, status, first, absent }]) => {
      if (failures > 0) return [`${name}: ${failures} failures, first ${first}`];
      if (status !== 0) return [`${name}: ended with status ${status}`];
      if (rounds === 0) return [`${name}: did not get round once`];
      return operations === 0 && absent === '' ? [`${name}: did nothing`] : [];
    }),
  };
}
