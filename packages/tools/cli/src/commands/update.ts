import { type PlannedUpdate, planUpdate } from '@kmend/pipeline';
import type { Register } from '../program.ts';
import { updateText } from '../update-text.ts';
import { usingWorkshop } from '../workshop.ts';

interface PlanOptions {
  readonly kernel: string;
  readonly to?: string;
  readonly records?: readonly string[];
}

export const updateCommands: Register = ({ program, action }) => {
  const update = program.command('update').description("Look at the distribution's updates of a kernel.");
  update
    .command('plan')
    .description('Show what an update changes for a kernel, and in whose code the flaws are that its changelog names.')
    .requiredOption('--kernel <release|build-id>', 'Kernel in the store')
    .option('--to <version>', "Version of the update (default: the suite's newest)")
    .option(
      '--records <path...>',
      'CVE records: folders with files such as CVE-2026-1234.json, or .jsonl files with one a line',
    )
    .action(
      action(async (context, options: PlanOptions) => {
        const plan = await usingWorkshop(context, async (workshop) => {
          const kernel = await workshop.kernels.open(options.kernel);
          return await planUpdate(workshop, kernel, { to: options.to, records: options.records ?? [] });
        });
        context.terminal.result<PlannedUpdate>(plan, updateText);
      }),
    );
};
