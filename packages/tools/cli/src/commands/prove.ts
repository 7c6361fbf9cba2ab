import { exists } from '@kmend/base/node';
import { proveInLab } from '@kmend/pipeline/lab';
import { type Proof, ranShare, whyNotRun } from '@kmend/protocol';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { table } from '../terminal.ts';
import { VERSION } from '../version.ts';
import { usingWorkshop } from '../workshop.ts';

interface ProveOptions {
  readonly previous?: string;
  readonly reproducer?: string[];
  readonly rounds: string;
  readonly transitionLimit: string;
  /** False: `--no-exercise`. */
  readonly exercise: boolean;
}

/** Counted rounds at most: each takes seconds. */
const MAX_ROUNDS = 1000;
const MAX_LIMIT = 3600;

export const proveCommand: Register = ({ program, action }) => {
  program
    .command('prove')
    .description('Prove a livepatch on its kernel in the lab. Writes proof.json beside livepatch.json.')
    .argument('<dir>', 'Folder that kmend build --out wrote')
    .option('--previous <dir>', 'Cumulative livepatch that hosts run now: the proof replaces it and goes back')
    .option('--reproducer <fix=file.c...>', "C program that shows whether a fix's flaw is present (docs/builder.md)")
    .option('--rounds <number>', 'Rounds of load and revert in which memory must not leak', '20')
    .option('--transition-limit <seconds>', 'Time limit of a transition', '180')
    .option('--no-exercise', 'Skip the exercises of the patched parts of the kernel; fewer functions run')
    .action(
      action(async (context, directory: string, options: ProveOptions) => {
        const order = {
          directory,
          previous: options.previous,
          reproducers: await reproducers(options.reproducer ?? []),
          exercise: options.exercise,
          rounds: whole('--rounds', options.rounds, MAX_ROUNDS),
          transitionLimit: whole('--transition-limit', options.transitionLimit, MAX_LIMIT),
          version: VERSION,
        };
        const { proof, path } = await usingWorkshop(context, (workshop) => proveInLab(workshop, order));
        if (!proof.passed) throw failure(proof, path);
        context.terminal.result(proof, (data) => describe(data, path));
      }),
    );
};

async function reproducers(words: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const word of words) {
    const [, fix, file] = /^([^=]+)=(.+)$/.exec(word) ?? [];
    if (fix === undefined || file === undefined) {
      throw new CliError('usage', `${word} is not of the form FIX=FILE`, { hint: 'e.g. CVE-2026-1=reproducer.c' });
    }
    if (!(await exists(file))) throw new CliError('usage', `there is no file ${file}`);
    files.set(fix, file);
  }
  return files;
}

function whole(option: string, text: string, most: number): number {
  if (/^[1-9]\d{0,5}$/.test(text) && Number(text) <= most) return Number(text);
  throw new CliError('usage', `${option} takes a number from 1 to ${most}, not ${text}`);
}

function failure(proof: Proof, path: string): CliError {
  const failed = proof.steps.find(({ outcome }) => outcome === 'failed');
  const why = failed === undefined ? 'a required step was not made' : `${failed.name}: ${failed.details.join('; ')}`;
  return new CliError('proof-failed', `livepatch ${proof.livepatch.id} failed its proof: ${why.slice(0, 2000)}`, {
    hint: `see the record in ${path}; docs/builder.md explains each step`,
    details: { proof },
  });
}

function describe(proof: Proof, path: string): string {
  const { figures, notShown } = proof;
  const rows = proof.steps.map(({ name, outcome, seconds, details }) => [
    name,
    outcome,
    `${seconds.toFixed(1)} s`,
    details.at(-1) ?? '',
  ]);
  return [
    `livepatch ${proof.livepatch.id} is proven on ${proof.kernel.release}`,
    table(['STEP', 'OUTCOME', 'TOOK', ''], rows),
    ...ranText(proof),
    ...notShown.map((line) => `not shown: ${line}`),
    `${figures.transitions} transitions, the longest ${figures.longestTransitionSeconds} s; ${figures.rounds} rounds`,
    path,
  ].join('\n');
}

/** Which replaced functions ran, and why the others did not. */
function ranText(proof: Proof): string[] {
  const share = ranShare(proof);
  if (share === undefined) return ['which functions ran was not counted'];
  const idle = (proof.ran ?? []).flatMap((entry) => {
    const why = whyNotRun(entry);
    return why === undefined ? [] : [`did not run: ${entry.object}: ${entry.name} (${entry.source}): ${why}`];
  });
  return [`ran ${share.ran} of ${share.of} functions`, ...idle];
}
