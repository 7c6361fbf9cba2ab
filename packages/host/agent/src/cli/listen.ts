import { AgentError } from '../error.ts';
import type { Places } from '../service/run.ts';

/** First descriptor that systemd passes on (sd_listen_fds(3), SD_LISTEN_FDS_START). */
const FIRST = 3;

/** The loader's two sockets, told apart by the names that their units give them (FileDescriptorName=). */
export function inheritedPlaces(env: Readonly<Record<string, string | undefined>>, pid: number): Places {
  const count = Number(env['LISTEN_FDS'] ?? 0);
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  const find = (name: string): { fd: number } => {
    const index = names.indexOf(name);
    if (Number(env['LISTEN_PID']) === pid && index >= 0 && index < count) return { fd: FIRST + index };
    throw new AgentError('usage', `systemd passed on no socket "${name}"`, {
      hint: 'the loader is started by kmend-loader.socket and kmend-loader-consider.socket, not by hand',
    });
  };
  return { orders: find('orders'), consider: find('consider') };
}
