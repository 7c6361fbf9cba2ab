import { ReviewStore } from '@kmend/pipeline';
import { type AutopilotState, AutopilotStore, readAutopilotConfig, runAutopilot } from '@kmend/pipeline/autopilot';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { connect, keysDirectory, type ServerOptions, withServer } from '../server-options.ts';
import { autopilotText } from '../update-text.ts';
import { VERSION } from '../version.ts';
import { usingCache, workshopOf } from '../workshop.ts';

interface RunOptions extends ServerOptions {
  readonly config: string;
  readonly once?: boolean;
  readonly keys?: string;
}

export const autopilotCommands: Register = ({ program, action }) => {
  const autopilot = program
    .command('autopilot')
    .description("Turn the distribution's updates into proven livepatches, without help.");
  const run = autopilot
    .command('run')
    .description('Build, prove and publish the newest update of each kernel, now and whenever there is one.')
    .requiredOption('--config <file>', 'What to do (docs/autopilot.md)')
    .option('--once', 'Look at the archive once, do what there is to do, and end')
    .option('--keys <dir>', 'Folder with the release key (default: keys, under KMEND_HOME)');
  withServer(run).action(
    action(async (context, options: RunOptions) => {
      const config = await readAutopilotConfig(options.config);
      const { progress } = context.terminal;
      const keys = options.keys ?? keysDirectory(context);
      const publisher = config.publish === undefined ? undefined : { api: await connect(context, options), keys };
      const { home } = context.places;
      const work = {
        workshop: workshopOf(context),
        reviews: new ReviewStore(home),
        config,
        publisher,
        version: VERSION,
      };
      const states = await runAutopilot(work, {
        store: new AutopilotStore(home),
        say: (line) => progress.step(line),
        once: options.once === true,
        use: (turn) => usingCache(context, turn),
      });
      const failed = states.find(({ problem }) => problem !== undefined);
      if (failed?.problem !== undefined) {
        throw new CliError('autopilot-failed', `${failed.kernel}: ${failed.problem.message} [${failed.problem.code}]`, {
          hint: 'kmend update status shows all kernels; what is done is kept, and the next run goes on behind it',
          details: { states },
        });
      }
      context.terminal.result<{ kernels: readonly AutopilotState[] }>({ kernels: states }, autopilotText);
    }),
  );
};
