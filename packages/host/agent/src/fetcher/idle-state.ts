import * as z from 'zod/mini';

/**
 * What an idle check has to know, left behind by the last full turn of the fetcher (fetcher/turn.ts), so that asking
 * whether anything is new takes one conditional GET and no verification. `zod/mini`: it is read in every idle check,
 * which has to be cheap.
 */
export const IdleState = z.object({
  schema: z.literal('kmend.agent-idle/1'),
  /** timestamp.json of the mirror that answered last, and the ETag of the state that is held. */
  url: z.string(),
  etag: z.string(),
  /** Proxy and certificate authority of the configuration, so that it need not be read. */
  proxy: z.record(z.string(), z.string()),
  caFile: z.nullable(z.string()),
  /**
   * When it was written: a clock that was set back since makes it worthless. Milliseconds since 1970, like the others.
   */
  writtenAt: z.number(),
  /** Until then an unchanged timestamp.json is enough. */
  freshUntil: z.number(),
  /** When the next regular report is due. */
  reportAt: z.number(),
  /** When the loader is to be asked again although nothing is new. */
  lookAt: z.number(),
  intervalSeconds: z.number(),
  /** Number of the newest event of the journal that was told. */
  told: z.number(),
});
export type IdleState = z.infer<typeof IdleState>;

/** What an idle check needs of the loader's files. */
export const JournalGlance = z.object({
  current: z.nullable(z.object({ module: z.string(), phase: z.string() })),
  events: z.array(z.object({ number: z.number() })),
});
export type JournalGlance = z.infer<typeof JournalGlance>;
export const ObservedGlance = z.object({
  wakeAt: z.nullable(z.string()),
  stack: z.optional(z.nullable(z.object({}))),
  shown: z.optional(z.array(z.string())),
});
