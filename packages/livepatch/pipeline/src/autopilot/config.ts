import { readFile } from 'node:fs/promises';
import { errorText, parseJson } from '@kmend/base';
import { Channel, Line } from '@kmend/protocol';
import { z } from 'zod';
import { AutopilotError } from './error.ts';

/** What an autopilot does, in a JSON file. docs/autopilot.md explains each member. */
export const AutopilotConfig = z.strictObject({
  /** Releases or build ids of kernels in the store. */
  kernels: z.array(z.string().min(1).max(200)).min(1).max(200),
  /** Files and folders of CVE records. */
  records: z.array(z.string().min(1)).max(100).default([]),
  /** Files and folders of the source to limit builds to. */
  paths: z.array(z.string().min(1)).max(1000).default([]),
  /** Only the files of CVEs whose records say where their fixes are. */
  named: z.boolean().default(false),
  /** Version of the updates, instead of each suite's newest. */
  to: z.string().optional(),
  /** Fixes that are built at the same time; default: as many as processors. */
  jobs: z.int().min(1).max(999).optional(),
  prove: z
    .strictObject({
      exercise: z.boolean().default(true),
      rounds: z.int().min(1).max(1000).default(20),
      transitionLimit: z.int().min(1).max(3600).default(180),
    })
    .default({ exercise: true, rounds: 20, transitionLimit: 180 }),
  /** Absent: what is proven waits for `kmend publish`, on the machine with the release key. */
  publish: z
    .strictObject({
      channel: Channel.default('canary'),
      /** Percent of the replaced functions that must have run in the proof. */
      minRan: z.int().min(0).max(100).optional(),
      /** Why less than usual is enough. */
      reason: Line.optional(),
    })
    .optional(),
  /** Minutes between two looks at the archive. */
  interval: z.int().min(1).max(10_080).default(60),
});
export type AutopilotConfig = z.infer<typeof AutopilotConfig>;

/** Reads a configuration. Throws `autopilot-config` with the member that is wrong. */
export async function readAutopilotConfig(path: string): Promise<AutopilotConfig> {
  const hint = 'docs/autopilot.md shows an example';
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new AutopilotError('autopilot-config', `${path} cannot be read: ${errorText(error)}`, { hint });
  });
  const config = AutopilotConfig.safeParse(parseJson(text));
  if (config.success) return config.data;
  const [issue] = config.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  const why = parseJson(text) === undefined ? 'it is no JSON' : `${where}${issue?.message ?? 'invalid'}`;
  throw new AutopilotError('autopilot-config', `${path} is no configuration of an autopilot: ${why}`, { hint });
}
