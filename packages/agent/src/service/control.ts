import { chmod, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { errorCode, errorText, KmendError } from '@kmend/base';
import { z } from 'zod';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';
import { Command, CommandResult } from './orders.ts';

/** One JSON document a line, from the service: any number of `told`, then one of the others. */
const Line = z.union([
  z.object({ told: z.string() }),
  z.object({ result: CommandResult }),
  z.object({ error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }) }),
]);
type Line = z.infer<typeof Line>;

const MAX_REQUEST = 4096;

export type Handler = (command: Command, tell: (text: string) => void) => Promise<CommandResult>;

/**
 * Serves commands on a unix socket that only root can reach (0600, in a directory of 0700). The caller holds the lock,
 * so a socket that is there already belongs to nobody.
 */
export async function serveControl(handler: Handler, path: string = paths.socket): Promise<Server> {
  await rm(path, { force: true });
  const server = createServer((socket) => void converse(socket, handler));
  server.maxConnections = 16;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

async function converse(socket: Socket, handler: Handler): Promise<void> {
  // Who asked may leave; what was asked is done all the same.
  socket.on('error', () => {});
  const say = (line: Line): void => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  };
  try {
    const command = Command.parse(JSON.parse(await firstLine(socket)));
    say({ result: await handler(command, (told) => say({ told })) });
  } catch (error) {
    const hint = error instanceof KmendError ? error.hint : undefined;
    const code = errorCode(error) ?? 'internal';
    say({ error: { code, message: errorText(error), ...(hint === undefined ? {} : { hint }) } });
  }
  socket.end();
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8').setTimeout(5_000, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) {
        socket.setTimeout(0);
        resolve(text.slice(0, end));
      } else if (text.length > MAX_REQUEST) socket.destroy();
    });
    socket.once('close', () => reject(new Error('no command came')));
  });
}

/** An error that the service met, with its code as it was there. */
export class ServiceError extends KmendError {}

/** Asks the running service; `undefined` where none is running. */
export async function askService(
  command: Command,
  tell: (text: string) => void,
  signal: AbortSignal,
  path: string = paths.socket,
): Promise<CommandResult | undefined> {
  const socket = await connect(path);
  if (socket === undefined) return undefined;
  const leave = (): void => void socket.destroy();
  signal.addEventListener('abort', leave, { once: true });
  try {
    socket.write(`${JSON.stringify(command)}\n`);
    for await (const text of createInterface({ input: socket })) {
      const line = Line.parse(JSON.parse(text));
      if ('told' in line) tell(line.told);
      else if ('result' in line) return line.result;
      else {
        const { code, message, hint } = line.error;
        throw new ServiceError(code, message, hint === undefined ? {} : { hint });
      }
    }
  } finally {
    signal.removeEventListener('abort', leave);
    socket.destroy();
  }
  throw new AgentError('interrupted', 'the service went away before it answered', {
    hint: 'journalctl -u kmend-agent says why',
  });
}

function connect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}
