import { availableParallelism } from 'node:os';
import {
  attachCves,
  buildUpdate,
  type PlannedUpdate,
  planUpdate,
  ReviewStore,
  type UpdateReport,
} from '@kmend/pipeline';
import { AutopilotStore } from '@kmend/pipeline/autopilot';
import { CliError, exitCodes } from '../error.ts';
import type { Register } from '../program.ts';
import { autopilotText, updateBuildText, updateText } from '../update-text.ts';
import { usingWorkshop } from '../workshop.ts';

const RECORDS = 'CVE records: folders with files such as CVE-2026-1234.json, or .jsonl files with one a line';

interface PlanOptions {
  readonly kernel: string;
  readonly to?: string;
  readonly records?: readonly string[];
}

interface BuildOptions extends PlanOptions {
  readonly path?: readonly string[];
  readonly named?: boolean;
  readonly jobs: string;
  readonly out: string;
}

interface ReportOptions {
  readonly kernel: string;
  readonly records: readonly string[];
  readonly out: string;
}

export const updateCommands: Register = ({ program, action }) => {
  const update = program.command('update').description("Plan and build the distribution's updates of a kernel.");
  update
    .command('plan')
    .description('Show what an update changes for a kernel, and in whose code the flaws are that its changelog names.')
    .requiredOption('--kernel <release|build-id>', 'Kernel in the store')
    .option('--to <version>', "Version of the update (default: the suite's newest)")
    .option('--records <path...>', RECORDS)
    .action(
      action(async (context, options: PlanOptions) => {
        const plan = await usingWorkshop(context, async (workshop) => {
          const kernel = await workshop.kernels.open(options.kernel);
          return await planUpdate(workshop, kernel, { to: options.to, records: options.records ?? [] });
        });
        context.terminal.result<PlannedUpdate>(plan, updateText);
      }),
    );
  update
    .command('build')
    .description(
      'Build a cumulative livepatch of an update: of all that is patchable, and of what needs a review and was accepted.',
    )
    .requiredOption('--kernel <release|build-id>', 'Kernel in the store')
    .option('--to <version>', "Version of the update (default: the suite's newest)")
    .option('--records <path...>', RECORDS)
    .option('--path <path...>', 'Only these files and folders of the source')
    .option('--named', 'Only the files of CVEs whose records say where their fixes are')
    .option('--jobs <number>', 'Fixes that are built at the same time', `${availableParallelism()}`)
    .requiredOption('--out <dir>', 'Folder for the livepatch, the report, and what was built so far')
    .action(
      action(
        async (
          context,
          { kernel: name, to, records = [], path: paths = [], named = false, jobs, out }: BuildOptions,
        ) => {
          if (!/^[1-9]\d{0,2}$/.test(jobs))
            throw new CliError('usage', `--jobs is a number from 1 to 999, not ${jobs}`);
          const report = await usingWorkshop(context, async (workshop) => {
            const kernel = await workshop.kernels.open(name);
            const order = { kernel, to, records, paths, named, jobs: Number(jobs), out };
            return await buildUpdate(workshop, new ReviewStore(context.places.home), order);
          });
          context.terminal.result<UpdateReport>(report, (told) => updateBuildText(told, out));
          const waits = report.fixes.some(({ state }) => state === 'waiting');
          if (report.livepatch === null) context.exitWith(waits ? exitCodes.needsReview : exitCodes.refused);
        },
      ),
    );
  update
    .command('report')
    .description('Attach the CVEs of records that came later to what was built before. Builds nothing.')
    .requiredOption('--kernel <release|build-id>', 'Kernel in the store')
    .requiredOption('--records <path...>', RECORDS)
    .requiredOption('--out <dir>', 'Folder that kmend update build wrote')
    .action(
      action(async (context, { kernel: name, records, out }: ReportOptions) => {
        const report = await usingWorkshop(context, async (workshop) => {
          return await attachCves(workshop, { kernel: await workshop.kernels.open(name), records, out });
        });
        context.terminal.result<UpdateReport>(report, (told) => updateBuildText(told, out));
      }),
    );
  update
    .command('status')
    .description('Show how far the autopilot is with each kernel, and what waits for you.')
    .action(
      action(async (context) => {
        const kernels = await new AutopilotStore(context.places.home).list();
        const reviews = (await new ReviewStore(context.places.home).list()).filter(({ state }) => state === 'open');
        context.terminal.result({ kernels, reviews: reviews.length }, (told) =>
          [
            autopilotText(told),
            ...(told.reviews === 0 ? [] : [`${told.reviews} changes wait for a review: kmend review list`]),
          ].join('\n'),
        );
      }),
    );
};
