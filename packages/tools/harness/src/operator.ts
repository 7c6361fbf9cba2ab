import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cleanEnvironment, places, run } from '@kmend/base/node';

/** The operator's command, as a user of a checkout runs it. */
export const KMEND = fileURLToPath(new URL('../../../../bin/kmend', import.meta.url));

export interface KmendResult {
  readonly exitCode: number;
  /** The JSON document on stdout. */
  readonly json: unknown;
  readonly stderr: string;
}

const COMMAND_LIMIT_MS = 30 * 60_000;
const SERVER_START_MS = 30_000;

/** A patch server in a process of its own. */
export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  /** The trust root that hosts need. */
  readonly root: string;
  stop(): Promise<void>;
}

/**
 * An operator with a home of their own, working with `bin/kmend` alone. The cache is the machine's, so that nothing is
 * fetched twice.
 */
export class Operator {
  readonly home: string;
  readonly cache: string;
  readonly #signal: AbortSignal;
  #serverUrl: string | undefined;

  private constructor(home: string, cache: string, signal: AbortSignal) {
    this.home = home;
    this.cache = cache;
    this.#signal = signal;
  }

  static async make(signal: AbortSignal): Promise<Operator> {
    return new Operator(await mkdtemp(join(tmpdir(), 'kmend-operator-')), places().cache, signal);
  }

  get environment(): Record<string, string> {
    const server = this.#serverUrl === undefined ? {} : { KMEND_SERVER: this.#serverUrl };
    const mirrors = Object.entries(process.env).filter(
      ([name, value]) => /^(?:KMEND_\w*MIRROR|https?_proxy|no_proxy)$/i.test(name) && value !== undefined,
    );
    return {
      ...cleanEnvironment(),
      ...(Object.fromEntries(mirrors) as Record<string, string>),
      KMEND_HOME: this.home,
      KMEND_CACHE: this.cache,
      ...server,
    };
  }

  /** Runs `kmend ... --json`, whatever its exit code. */
  async run(...args: string[]): Promise<KmendResult> {
    const result = await run(KMEND, [...args, '--json'], {
      env: this.environment,
      signal: this.#signal,
      timeoutMs: COMMAND_LIMIT_MS,
    });
    return { exitCode: result.exitCode, json: parse(result.stdout.toString('utf8')), stderr: result.stderr };
  }

  /** Runs `kmend ... --json`; another exit code than 0 throws what it said. */
  async kmend<T = unknown>(...args: string[]): Promise<T> {
    const { exitCode, json, stderr } = await this.run(...args);
    if (exitCode !== 0) throw new Error(`kmend ${args.join(' ')} ended with ${exitCode}: ${stderr.trim()}`);
    return json as T;
  }

  /** Starts `kmend server` on a free port of the loopback. It ends with this process, whatever ends that. */
  async startServer(...more: string[]): Promise<ServerProcess> {
    const args = ['--pdeathsig', 'TERM', '--', KMEND, 'server', '--port', '0', '--log', 'warn', '--json', ...more];
    const child = spawn('setpriv', args, { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const said: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString('utf8')));
    const { url, created } = await firstDocument(child, said);
    this.#serverUrl = url;
    const stop = async (): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    };
    return {
      url,
      port: Number(new URL(url).port),
      root: created?.root ?? join(this.home, 'server', 'repository', 'metadata', '1.root.json'),
      stop,
    };
  }

  async remove(): Promise<void> {
    await rm(this.home, { recursive: true, force: true });
  }
}

interface ServerDocument {
  readonly url: string;
  readonly created: { readonly root: string } | null;
}

function firstDocument(
  child: ChildProcess & { stdout: NodeJS.ReadableStream },
  said: readonly string[],
): Promise<ServerDocument> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the server did not start within ${SERVER_START_MS / 1000} s: ${said.join('')}`));
    }, SERVER_START_MS);
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const document = parse(text);
      if (document === undefined) return;
      clearTimeout(timer);
      resolve(document as ServerDocument);
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`the server ended with ${code}: ${said.join('')}`));
    });
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
