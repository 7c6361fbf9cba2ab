import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import type { TestContext } from 'node:test';

export interface Web {
  readonly url: string;
  /** Paths that were asked for. */
  readonly asked: string[];
  /** Answers 401 to clients without it. */
  authorization: string | undefined;
  /** In place of a file, by the end of its path; returning `undefined` gives the file. */
  tamper: ((path: string, data: Buffer) => Buffer | undefined) | undefined;
}

/** A web server for a folder. */
export async function serve(t: Pick<TestContext, 'after'>, folder: string): Promise<Web> {
  const web: Web = { url: '', asked: [], authorization: undefined, tamper: undefined };
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent((request.url ?? '/').split('?')[0] ?? '/'));
    web.asked.push(path);
    const answer = async (): Promise<void> => {
      if (web.authorization !== undefined && request.headers.authorization !== web.authorization) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
        return;
      }
      const file = join(folder, path);
      if (!(await stat(file)).isFile()) throw new Error('not a file');
      const data = await readFile(file);
      response.writeHead(200).end(web.tamper?.(path, data) ?? data);
    };
    answer().catch(() => response.writeHead(404).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(web, { url: `http://127.0.0.1:${port}` });
}
