import * as z from 'zod';
import { Sha256 } from './values.ts';

/**
 * What a Debian system consists of: one that livepatches are compiled in, or that they are tried on. `digest`: of suite
 * and packages. `packages`: version by name, of all that are installed.
 */
export const SystemContents = z.object({
  suite: z.string().max(64),
  digest: Sha256,
  packages: z
    .record(z.string().max(100), z.string().max(100))
    .refine((packages) => Object.keys(packages).length <= 2000, 'more packages than such a system has'),
});
export type SystemContents = z.infer<typeof SystemContents>;
