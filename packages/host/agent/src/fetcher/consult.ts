import { AgentError } from '../error.ts';
import { askService } from '../service/control.ts';
import type { CommandResult } from '../service/orders.ts';
import { fetchLivepatch } from './check.ts';
import type { Fetcher } from './context.ts';

/** Most livepatches that one look of the loader may ask for: the one the policy wants, and one to fall back to. */
const ROUNDS = 3;

/**
 * Has the loader look at what was fetched, and fetches the livepatch it then wants. The decision is the loader's alone.
 * Throws `loader-unreachable`, and the loader's own errors with their codes.
 */
export async function consult(
  fetcher: Fetcher,
  path: string,
  options: { readonly follow: boolean; tell(text: string): void },
  signal: AbortSignal,
): Promise<CommandResult> {
  const fetched: number[] = [];
  for (let round = 1; ; round++) {
    const { channel } = fetcher.identity;
    const order = { command: 'consider', fetched, channel, follow: options.follow } as const;
    const result = await askService(path, order, options.tell, signal);
    if (result === undefined) throw unreachable(path);
    if (result.action !== 'fetch' || result.serial === null || round === ROUNDS) return result;
    const found = await fetchLivepatch(fetcher, result.serial, signal);
    fetcher.log(found ? 'info' : 'warn', found ? 'fetched' : 'the repository has no such livepatch', {
      serial: result.serial,
    });
    fetched.push(result.serial);
  }
}

export function unreachable(path: string): AgentError {
  return new AgentError('loader-unreachable', `nothing listens on ${path}`, {
    hint: 'systemctl status kmend-loader.socket kmend-loader.service; systemctl start kmend-loader.socket',
  });
}
