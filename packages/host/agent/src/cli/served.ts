import type { Duplex } from 'node:stream';
import { Readable } from 'node:stream';
import { parseJson } from '@kmend/base';
import * as z from 'zod';
import { exitCodes } from '../error.ts';
import { boundedLines } from '../service/lines.ts';
import type { Context } from './context.ts';
import { FetcherEnvironment } from './environment.ts';
import type { Streams } from './terminal.ts';

/** What root asks for: one JSON document on one line. */
export const ServedRequest = z.strictObject({
  args: z.tuple([z.enum(['fetcher-once', 'fetcher-enrol'])], z.string().max(4096)),
  env: FetcherEnvironment,
  /** The command's own input: what enrolment needs, the activation key in it. */
  stdin: z.string().max(32_768),
});
export type ServedRequest = z.infer<typeof ServedRequest>;

/** What comes back, one JSON document a line: output, words for people, and in the end the exit code. */
export const ServedLine = z.union([
  z.strictObject({ out: z.string() }),
  z.strictObject({ note: z.string() }),
  z.strictObject({ exit: z.int().min(0).max(255) }),
]);
export type ServedLine = z.infer<typeof ServedLine>;

export const MAX_REQUEST = 65_536;

type Program = (argv: readonly string[], streams: Streams, context: Omit<Context, 'terminal'>) => Promise<number>;

/**
 * The far end of root's command (kmend-agent-command@.service): runs one command of the fetcher in the unit's sandbox,
 * as its user, and tells over the outcome over the socket. If the caller leaves, the command stops.
 */
export async function serveCommand(
  socket: Duplex,
  program: Program,
  context: Omit<Context, 'terminal' | 'stdin'>,
): Promise<void> {
  const left = new AbortController();
  const signal = AbortSignal.any([context.signal, left.signal]);
  socket.on('error', () => left.abort());
  socket.on('close', () => left.abort());
  const say = (line: ServedLine): void => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  };
  const streams: Streams = {
    out: { write: (text) => say({ out: text }) },
    err: { write: (text) => say({ note: text }) },
  };
  const lines = boundedLines(socket, MAX_REQUEST);
  const first = await lines.next();
  // Nothing follows it; its end means that the caller left.
  void (async () => {
    for await (const _ of lines);
    left.abort();
  })().catch(() => left.abort());
  const request = ServedRequest.safeParse(first.done === true ? undefined : parseJson(first.value));
  if (request.success) {
    const { args, env, stdin } = request.data;
    const given = { ...context, env: { ...context.env, ...env }, stdin: Readable.from([stdin]), signal };
    say({ exit: await program(args, streams, given) });
  } else {
    say({ note: `kmend-agent: not a command of root's: ${z.prettifyError(request.error)}\n` });
    say({ exit: exitCodes.usage });
  }
  await new Promise<void>((resolve) => socket.end(resolve));
}
