import { parseJson } from '@kmend/base';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';
import { connectTo } from '../service/control.ts';
import { boundedLines } from '../service/lines.ts';
import { type FetcherEnvironment, fetcherEnvironment } from './environment.ts';
import { ServedLine, type ServedRequest } from './served.ts';

/** Larger than any report: the fetcher is not trusted to end. */
const MAX_ANSWER = 8 * 1024 * 1024;

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
}

/**
 * Has systemd run a command of the fetcher, in the sandbox of its service (kmend-agent-command@.service): another user without a right, in a
 * session of its own, with an environment of its own, and nothing of root's in reach but this socket. So a fetcher that was taken over can neither
 * type into root's terminal (TIOCSTI) nor read what root's shell holds. `note` hears what it says on the way. Throws `fetcher-unreachable`,
 * `fetcher-failed`, `interrupted`.
 */
export async function asFetcher(
  edges: Edges,
  args: ServedRequest['args'],
  options: {
    readonly stdin?: string;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly signal: AbortSignal;
    note(text: string): void;
  },
): Promise<Outcome> {
  const socket = await connectTo(edges.files.real(paths.commandSocket));
  if (socket === undefined) {
    throw new AgentError('fetcher-unreachable', `nothing listens on ${paths.commandSocket}`, {
      hint: 'systemctl start kmend-agent-command.socket; the fetcher runs in its sandbox only',
    });
  }
  const leave = (): void => void socket.destroy();
  options.signal.addEventListener('abort', leave, { once: true });
  try {
    const env: FetcherEnvironment = fetcherEnvironment(options.env);
    socket.write(`${JSON.stringify({ args, env, stdin: options.stdin ?? '' } satisfies ServedRequest)}\n`);
    let stdout = '';
    for await (const text of boundedLines(socket, MAX_ANSWER)) {
      const line = ServedLine.safeParse(parseJson(text)).data;
      if (line === undefined) throw failed('it answered something else than the fetcher does');
      if ('exit' in line) return { exitCode: line.exit, stdout };
      if ('out' in line) stdout += line.out;
      else options.note(line.note.trimEnd());
    }
    throw failed('it ended before it answered');
  } catch (error) {
    if (options.signal.aborted) {
      throw new AgentError('interrupted', 'interrupted before the fetcher ended', { cause: error });
    }
    throw error instanceof AgentError ? error : failed(String(error));
  } finally {
    options.signal.removeEventListener('abort', leave);
    socket.destroy();
  }
}

function failed(why: string): AgentError {
  return new AgentError('fetcher-failed', `the fetcher failed: ${why}`, {
    hint: "see journalctl -u 'kmend-agent-command@*'; install the package again if the user kmend-agent is missing",
  });
}
