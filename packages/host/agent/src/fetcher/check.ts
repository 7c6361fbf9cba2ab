import { errorCode, errorText } from '@kmend/base';
import { type CheckOutcome, failureKind } from '@kmend/trust';
import { AgentError } from '../error.ts';
import { DEFAULT_INTERVAL_SECONDS } from '../observed/contact.ts';
import { see } from '../observed/stored.ts';
import type { Fetcher } from './context.ts';

/**
 * One full check: a conditional GET, and where something is new all signed metadata and policies that this host needs,
 * verified, into the fetcher's cache. Throws the trust package's errors as they are.
 */
export async function check(fetcher: Fetcher, signal: AbortSignal): Promise<CheckOutcome> {
  const { repository, contact, buildId, config, edges } = fetcher;
  const at = (): string => edges.clock.now().toISOString();
  try {
    const outcome = await repository.check(signal);
    const fleet = await repository.fleetPolicy(signal);
    await repository.kernelPolicy(buildId, signal);
    const before = contact.value;
    await contact.save({
      ...before,
      contact: see(before.contact, 'ok', at()),
      version: outcome.version,
      expires: outcome.expires.toISOString(),
      mirror: outcome.validator?.url ?? null,
      intervalSeconds: config.checkIntervalSeconds ?? fleet?.checkIntervalSeconds ?? DEFAULT_INTERVAL_SECONDS,
    });
    for (const { url, code, message } of outcome.passedOver ?? [])
      fetcher.log('warn', 'skipped a mirror', { url, code, error: message });
    if (outcome.overlong !== undefined) {
      const [says, counts] = [outcome.overlong, outcome.expires].map((date) => date.toISOString());
      fetcher.log(
        'warn',
        'the timestamp says it holds for longer than any may: a clock was ahead where it was signed, or is behind here',
        { says, counts },
      );
    }
    return outcome;
  } catch (error) {
    if (signal.aborted) {
      throw new AgentError('interrupted', 'the check was interrupted: nothing was loaded', { cause: error });
    }
    const kind = failureKind(error);
    // A full disk is this host's own trouble: what the repository is like was not seen.
    if (kind !== 'local')
      await contact.save({ ...contact.value, contact: see(contact.value.contact, kind, at(), errorText(error)) });
    throw error;
  }
}

/** Brings one livepatch into the fetcher's cache. False where the repository does not have it. */
export async function fetchLivepatch(
  { repository, buildId }: Fetcher,
  serial: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await repository.fetchLivepatch(buildId, serial, signal);
    return true;
  } catch (error) {
    if (errorCode(error) === 'not-found') return false;
    throw error;
  }
}
