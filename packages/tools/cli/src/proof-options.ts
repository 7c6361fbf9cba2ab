import { Line } from '@kmend/protocol';
import { MIN_RAN_PERCENT, type ProofDemand } from '@kmend/trust';
import { type Command, Option } from 'commander';
import { CliError } from './error.ts';

/** What commands that publish ask of a proof, as commander parses it. */
export interface ProofOptions {
  readonly unproven?: boolean;
  readonly minRan: string;
  readonly reason?: string;
}

/** Adds the options of what a proof has to show before a livepatch is published. */
export function withProofDemand(command: Command): Command {
  return command
    .option('--unproven', 'Publish without a proof (kmend prove); a failed proof is still refused')
    .addOption(
      new Option(
        '--min-ran <percent>',
        'Required share of replaced functions that ran in the proof; 0 disables the check',
      )
        .env('KMEND_MIN_RAN')
        .default(String(MIN_RAN_PERCENT)),
    )
    .option(
      '--reason <text>',
      'Reason to publish with fewer functions run, or unproven; recorded with the publication',
    );
}

export function proofDemand({ unproven = false, minRan, reason }: ProofOptions): ProofDemand {
  if (!/^(?:\d{1,2}|100)$/.test(minRan)) {
    throw new CliError('usage', `--min-ran (KMEND_MIN_RAN) takes a number from 0 to 100, not ${minRan}`);
  }
  const demand = { unproven, minRanPercent: Number(minRan) };
  if (reason === undefined) return demand;
  if (reason.trim() === '' || !Line.safeParse(reason).success) {
    throw new CliError('usage', '--reason takes one line of at most 500 characters that says why');
  }
  return { ...demand, reason };
}
