import { publishLivepatch } from '@kmend/pipeline';
import { Channel } from '@kmend/protocol';
import type { Confirm } from '@kmend/trust';
import { Option } from 'commander';
import { planText } from '../plan-text.ts';
import type { Register } from '../program.ts';
import { type ProofOptions, proofDemand, withProofDemand } from '../proof-options.ts';
import { connect, keysDirectory, type ServerOptions, withServer } from '../server-options.ts';

interface PublishOptions extends ServerOptions, ProofOptions {
  readonly channel: Channel;
  readonly keys?: string;
}

export const publishCommand: Register = ({ program, action }) => {
  const publish = program
    .command('publish')
    .description('Sign a livepatch with the release key, on this machine, and publish it to a channel.')
    .argument('<dir>', 'Folder that kmend build --out wrote')
    .addOption(new Option('--channel <name>', 'Channel').choices(Channel.options).default('stable'))
    .option('--keys <dir>', 'Folder with the release key (default: keys, under KMEND_HOME)');
  withServer(withProofDemand(publish)).action(
    action(async (context, livepatch: string, options: PublishOptions) => {
      const api = await connect(context, options);
      const { channel, keys = keysDirectory(context) } = options;
      const confirm: Confirm = (plan) => context.terminal.note(planText(plan));
      const { progress } = context.terminal;
      const order = { ...proofDemand(options), livepatch, channel, keys, confirm, progress };
      const published = await publishLivepatch(api, order);
      context.terminal.result(
        published,
        (data) =>
          `serial ${data.serial} for ${data.release} is in ${data.channel}${data.proven ? '' : ', unproven'}: ${data.fixes.join(', ')}`,
      );
    }),
  );
};
