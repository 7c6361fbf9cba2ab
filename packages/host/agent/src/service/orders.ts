import { Channel, Serial, Timestamp } from '@kmend/protocol';
import * as z from 'zod';

/** What the fetcher may ask of the loader: to look at what it brought, and act by the signed policy alone. */
export const ConsiderOrder = z.strictObject({
  command: z.literal('consider'),
  /** Serials that were just fetched, or could not be. */
  fetched: z.array(Serial).max(8).readonly(),
  /**
   * The channel that the server put this host on; absent: the one it is on. Every livepatch of every channel is signed
   * for this kernel.
   */
  channel: Channel.optional(),
  /** Wait for the outcome of what is begun. */
  follow: z.boolean(),
});
export type ConsiderOrder = z.infer<typeof ConsiderOrder>;

/** What root may order besides. */
export const LoaderOrder = z.discriminatedUnion('command', [
  ConsiderOrder,
  z.strictObject({
    command: z.literal('apply'),
    /** `null`: what the policy wants; else this one, which is then held. */
    serial: Serial.nullable(),
    fetched: z.array(Serial).max(8).readonly(),
  }),
  z.strictObject({
    command: z.literal('revert'),
    to: z.enum(['none', 'previous']),
    untilNewer: z.boolean(),
    fetched: z.array(Serial).max(8).readonly(),
  }),
  z.strictObject({ command: z.literal('hold'), until: Timestamp.nullable(), reason: z.string().max(500) }),
  z.strictObject({ command: z.literal('resume') }),
  z.strictObject({
    command: z.literal('consolidate'),
    /** Back to the packages. */
    undo: z.boolean(),
    fetched: z.array(Serial).max(8).readonly(),
  }),
]);
export type LoaderOrder = z.infer<typeof LoaderOrder>;

export const CommandResult = z.object({
  action: z.enum(['none', 'load', 'revert', 'fetch', 'hold', 'resume', 'consolidate', 'hand-over']),
  reason: z.string().nullable(),
  chosen: z.int().nullable(),
  /** State of the livepatch afterwards. */
  state: z.string(),
  /** Serial in question; `null`: none. */
  serial: z.int().nullable(),
});
export type CommandResult = z.infer<typeof CommandResult>;
