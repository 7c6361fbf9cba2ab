import { FixId, FixSummary } from '@kmend/protocol';
import { z } from 'zod';
import { LeftOut } from './scope.ts';

/** Files and folders that a fix was limited to; absent: all of it. */
const Chosen = z.array(z.string()).optional();

/** Where a fix came from. */
export const FixOrigin = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('debian'),
    suite: z.string(),
    from: z.string(),
    to: z.string(),
    paths: z.array(z.string()),
    /** Of these headers only what concerns definitions of these names; absent: all files whole. */
    parts: z.record(z.string(), z.array(z.string())).optional(),
  }),
  z.object({ kind: z.literal('patch'), file: z.string(), paths: Chosen }),
  z.object({ kind: z.literal('git'), commit: z.string(), paths: Chosen }),
]);
export type FixOrigin = z.infer<typeof FixOrigin>;

/** `fix.json` of the fix store; the patch lies beside it. */
export const FixRecord = FixSummary.extend({
  schema: z.literal('kmend.fix/1'),
  origin: FixOrigin,
  /** SHA-256 of the bytes of `fix.patch`. */
  sha256: z.string(),
  /** Files of where it comes from that are no part of it. */
  leftOut: z.array(LeftOut).optional(),
  /** What was done to the text to read it, for people. */
  notes: z.array(z.string()).optional(),
});
export type FixRecord = z.infer<typeof FixRecord>;

/** A source change with an id. */
export interface Fix extends Omit<FixRecord, 'leftOut' | 'notes'> {
  /**
   * Unified diff of nothing but hunks, paths relative to the source tree behind one component (`a/`, `b/`). One
   * character a byte, as all text of sources: what is written of it is written as latin1.
   */
  readonly patch: string;
  /** Files it changes, relative to the source tree. */
  readonly files: readonly string[];
  readonly leftOut: readonly LeftOut[];
  readonly notes: readonly string[];
}

export { FixId };
