import { complaintsOf } from '@kmend/rules';
import { readManifest } from '../decide/manifest.ts';
import { kernelLog } from '../kernel/log.ts';
import type { Attempt } from '../state/journal.ts';
import type { Loader } from './context.ts';

const LEAST_MS = 2_000;

/** Phases in which a livepatch is watched: it is in the kernel and not trusted yet. */
const WATCHED: ReadonlySet<Attempt['phase']> = new Set(['transition', 'replacing', 'soak']);

/**
 * What the kernel complained of since the livepatch came in, where the code of that livepatch is part of it: an oops, a
 * warning, a lock-up with one of its functions on the stack. `undefined` where there is nothing.
 */
export async function complaintAbout(
  { edges }: Loader,
  attempt: Attempt,
  elapsedMs: number,
): Promise<string | undefined> {
  if (!WATCHED.has(attempt.phase)) return undefined;
  // Most transitions are over before the log could be read; what it says is read in the soak then.
  if (attempt.phase === 'transition' && elapsedMs < LEAST_MS) return undefined;
  const manifest = await readManifest(edges, attempt.buildId, attempt.serial);
  const objects = manifest?.id === attempt.id ? manifest.objects : [];
  const log = await kernelLog(edges);
  const { complaints } = complaintsOf(log, attempt.logFrom, { module: attempt.module, objects });
  const found = complaints.find(({ isOurs }) => isOurs);
  if (found === undefined) return undefined;
  const where = found.function === null ? '' : ` in ${found.function}`;
  const lines = found.lines.slice(0, 12).join(' | ');
  return `the kernel reported ${found.kind}${where} while it was watched: ${found.title}; ${lines}`.slice(0, 1800);
}
