import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { exists, writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { AutopilotError } from './error.ts';

/**
 * How far the autopilot is with one kernel. `current`: there is no later version. `nothing`: nothing can be patched
 * without a review. `unchanged`: the livepatch is the one that is published. `proven`: it waits for `kmend publish`.
 */
export const AutopilotStep = z.enum(['building', 'proving', 'proven', 'published', 'unchanged', 'nothing', 'current']);
export type AutopilotStep = z.infer<typeof AutopilotStep>;

export const AutopilotState = z.object({
  schema: z.literal('kmend.autopilot-state/1'),
  /** Release and build id. */
  kernel: z.string(),
  buildId: z.string(),
  /** Version of the update. */
  to: z.string(),
  /** Of all that the livepatch is made from. */
  inputs: z.string(),
  step: AutopilotStep,
  at: z.string(),
  /** Folder with the livepatch and the report; absent if nothing was built. */
  out: z.string().optional(),
  livepatch: z.string().optional(),
  serial: z.number().optional(),
  /** Id and folder of the last livepatch that was published. */
  published: z.object({ id: z.string(), directory: z.string() }).optional(),
  /** Why it does not go on. */
  problem: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type AutopilotState = z.infer<typeof AutopilotState>;

/** A fix that was set aside since the livepatch failed its proof with it. */
export const SetAside = z.object({ key: z.string(), fix: z.string(), why: z.string(), at: z.string() });
export type SetAside = z.infer<typeof SetAside>;

/** What an autopilot keeps: a folder a kernel, written so that it goes on wherever it was broken off. */
export class AutopilotStore {
  readonly directory: string;

  /** `home`: the folder `autopilot` in it is the store's. */
  constructor(home: string) {
    this.directory = join(home, 'autopilot');
  }

  folder(buildId: string): string {
    return join(this.directory, buildId);
  }

  async list(): Promise<AutopilotState[]> {
    const names = await readdir(this.directory).catch(() => [] as string[]);
    const states = await Promise.all(names.sort().map((name) => this.read(name)));
    return states.filter((state) => state !== undefined);
  }

  /** `undefined` as well for what is damaged: it is made anew. */
  async read(buildId: string): Promise<AutopilotState | undefined> {
    const text = await readFile(join(this.folder(buildId), 'state.json'), 'utf8').catch(() => '');
    return AutopilotState.safeParse(parseJson(text)).data;
  }

  async write(state: AutopilotState): Promise<void> {
    await writeFileAtomic(join(this.folder(state.buildId), 'state.json'), `${JSON.stringify(state, null, 2)}\n`);
  }

  /** Throws `autopilot-aside`: people edit this file. */
  async aside(buildId: string): Promise<SetAside[]> {
    const path = join(this.folder(buildId), 'aside.json');
    if (!(await exists(path))) return [];
    const aside = z.array(SetAside).safeParse(parseJson(await readFile(path, 'utf8')));
    if (aside.success) return aside.data;
    throw new AutopilotError('autopilot-aside', `${path} cannot be read: it is no list of fixes that were set aside`, {
      hint: 'correct the file, or remove it to try all fixes again',
    });
  }

  async setAside(buildId: string, more: readonly SetAside[]): Promise<void> {
    const all = [...(await this.aside(buildId)), ...more];
    await writeFileAtomic(join(this.folder(buildId), 'aside.json'), `${JSON.stringify(all, null, 2)}\n`);
  }
}
