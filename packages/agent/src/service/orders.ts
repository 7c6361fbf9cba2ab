import { z } from 'zod';

/** What a person can ask of the one actor, over the socket or in their own process. */
export const Command = z.discriminatedUnion('command', [
  z.object({ command: z.literal('check') }),
  z.object({ command: z.literal('revert'), untilNewer: z.boolean() }),
  z.object({ command: z.literal('resume') }),
]);
export type Command = z.infer<typeof Command>;

export const CommandResult = z.object({
  action: z.enum(['none', 'load', 'revert', 'resume']),
  reason: z.string().nullable(),
  chosen: z.int().nullable(),
  /** State of the livepatch afterwards. */
  state: z.string(),
  /** Serial in question; `null`: none. */
  serial: z.int().nullable(),
});
export type CommandResult = z.infer<typeof CommandResult>;
