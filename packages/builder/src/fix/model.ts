import { FixId, FixSummary } from '@kmend/protocol';
import { z } from 'zod';

/** Where a fix came from. */
export const FixOrigin = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('debian'),
    suite: z.string(),
    from: z.string(),
    to: z.string(),
    paths: z.array(z.string()),
  }),
  z.object({ kind: z.literal('patch'), file: z.string() }),
  z.object({ kind: z.literal('git'), commit: z.string() }),
]);
export type FixOrigin = z.infer<typeof FixOrigin>;

/** `fix.json` of the fix store; the patch lies beside it. */
export const FixRecord = FixSummary.extend({
  schema: z.literal('kmend.fix/1'),
  origin: FixOrigin,
  /** SHA-256 of the patch. */
  sha256: z.string(),
});
export type FixRecord = z.infer<typeof FixRecord>;

/** A source change with an id. */
export interface Fix extends FixRecord {
  /** Unified diff, paths relative to the source tree behind one component (`a/`, `b/`). */
  readonly patch: string;
  /** Files it changes, relative to the source tree. */
  readonly files: readonly string[];
}

export { FixId };
