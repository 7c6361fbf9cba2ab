import { chmod, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { errorCode, errorText, KmendError } from '@kmend/base';
import * as z from 'zod';
import { AgentError } from '../error.ts';
import { CommandResult, type LoaderOrder } from './orders.ts';

/** One JSON document a line, from the service: any number of `told`, then one of the others. */
const Line = z.union([
  z.object({ told: z.string() }),
  z.object({ result: CommandResult }),
  z.object({ error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }) }),
]);
type Line = z.infer<typeof Line>;

const MAX_REQUEST = 4096;

export type Handler<Order> = (order: Order, tell: (text: string) => void) => Promise<CommandResult>;

/** Where a server listens: a path of its own (0600), or a socket that systemd passed on (sd_listen_fds(3)). */
export type Place = { readonly path: string } | { readonly fd: number };

/**
 * Takes orders of one kind on a unix socket. Who may reach it is the socket's mode: that is all the authority an order
 * has, so each socket takes only the orders that its users may give.
 */
export async function serveControl<Order>(
  schema: z.ZodType<Order>,
  handler: Handler<Order>,
  place: Place,
): Promise<Server> {
  // The serving process holds a lock, so an existing socket has no owner.
  if ('path' in place) await rm(place.path, { force: true });
  const server = createServer((socket) => void converse(socket, schema, handler));
  server.maxConnections = 16;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen('path' in place ? place.path : { fd: place.fd }, resolve);
  });
  if ('path' in place) await chmod(place.path, 0o600);
  return server;
}

async function converse<Order>(socket: Socket, schema: z.ZodType<Order>, handler: Handler<Order>): Promise<void> {
  // Who asked may leave; what was asked is done all the same.
  socket.on('error', () => {});
  const say = (line: Line): void => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`);
  };
  try {
    const order = schema.parse(JSON.parse(await firstLine(socket)));
    say({ result: await handler(order, (told) => say({ told })) });
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
    socket.once('close', () => reject(new Error('no order came')));
  });
}

/** An error that the service met, with its code as it was there. */
export class ServiceError extends KmendError {}

/** Asks the running service; `undefined` where none is running. */
export async function askService(
  path: string,
  order: LoaderOrder,
  tell: (text: string) => void,
  signal: AbortSignal,
): Promise<CommandResult | undefined> {
  const socket = await connectTo(path);
  if (socket === undefined) return undefined;
  const leave = (): void => void socket.destroy();
  signal.addEventListener('abort', leave, { once: true });
  try {
    socket.write(`${JSON.stringify(order)}\n`);
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
  throw new AgentError('interrupted', 'the service ended before it answered', {
    hint: 'see journalctl -u kmend-agent -u kmend-loader',
  });
}

/** `undefined` without a listener. */
export function connectTo(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}
