import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';

/** Answers instead of the file, and returns true; else the file is served. */
export type Tamper = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export interface TestWeb {
  readonly url: string;
  /** Paths asked for since the last look, with their status. */
  log: string[];
  /** Bytes that crossed the wire since the last look, both ways, headers included. */
  traffic(): number;
  tamper: Tamper | undefined;
  /** Directory served. */
  root: string;
  close(): Promise<void>;
}

/** The rest of a file, where a request asks for that and its condition holds (RFC 9110, sections 13.1.5 and 14). */
function sendRange(request: IncomingMessage, response: ServerResponse, file: Buffer, etag: string): boolean {
  const first = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  if (first === undefined || (request.headers['if-range'] ?? etag) !== etag) return false;
  const rest = file.subarray(Number(first));
  if (rest.length === 0) {
    response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end();
    return true;
  }
  const range = `bytes ${first}-${file.length - 1}/${file.length}`;
  response.writeHead(206, { etag, 'content-range': range, 'content-length': rest.length }).end(rest);
  return true;
}

/** A plain web server with ETags and ranges on loopback: the repository must need nothing more. For tests. */
export async function startWeb(root: string): Promise<TestWeb> {
  let seen = 0;
  const sockets: Socket[] = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname);
    response.on('close', () => web.log.push(`${response.statusCode} ${path}`));
    if (web.tamper !== undefined && (await web.tamper(request, response))) return;
    const file = await readFile(join(web.root, path)).catch(() => undefined);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    const etag = `"${sha256(file).slice(0, 16)}"`;
    if (request.headers['if-none-match'] === etag) response.writeHead(304, { etag }).end();
    else if (!sendRange(request, response, file, etag)) {
      response.writeHead(200, { etag, 'content-length': file.length }).end(file);
    }
  });
  server.on('connection', (socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const web: TestWeb = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    log: [],
    tamper: undefined,
    root,
    traffic() {
      const total = sockets.reduce((sum, socket) => sum + socket.bytesRead + socket.bytesWritten, 0);
      const since = total - seen;
      seen = total;
      return since;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return web;
}
