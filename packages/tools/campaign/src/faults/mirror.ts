import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import { OPERATOR_ADDRESS } from '@kmend/lab';
import { loadOnlineKeys, type OnlineKeys } from '@kmend/trust';
import { rotateOnlineKeys, startWeb, type Tamper, type TestWeb, TIMESTAMP_FILE } from '@kmend/trust/testing';
import { LIVEPATCH } from '../attacks/livepatch.ts';
import { METADATA } from '../attacks/metadata.ts';
import type { ModeName } from '../attacks/modes.ts';
import { type Attack, type Owner, type Settings, Stage } from '../attacks/stage.ts';
import { TRANSPORT } from '../attacks/transport.ts';

export { MODES, type Mode, type ModeName, modeOf, type Threat } from '../attacks/modes.ts';
export { type Owner, ownerOf, type Settings } from '../attacks/stage.ts';

const ATTACKS: Readonly<Record<ModeName, (stage: Stage) => Attack | Promise<Attack>>> = {
  ...METADATA,
  ...LIVEPATCH,
  ...(Object.fromEntries(
    Object.entries(TRANSPORT).map(([name, make]) => [name, (stage: Stage) => make(stage.settings)]),
  ) as Record<keyof typeof TRANSPORT, (stage: Stage) => Attack>),
};

const DEFAULTS: Settings = { seed: 1, seconds: 10 };

/** An attack under way. */
interface Staged {
  readonly mode: ModeName;
  readonly attack: Attack;
  readonly directory: string;
  firstTaken: boolean;
}

/**
 * A web server between a repository and its hosts that can turn hostile, and back, at any moment. Attacks are made on
 * the repository as it is then; several make its owner sign again behind their backs (`setFleetPolicy` with nothing
 * changed), so do not publish at the same moment. One host at a time: an attack that begins with a truth (`rollback`)
 * tells it to the first who asks. For tests.
 */
export class HostileMirror {
  readonly #owner: Owner;
  readonly #web: TestWeb;
  readonly #scratch: string;
  #staged: Staged | undefined;
  #retired: OnlineKeys | undefined;
  #answered = 0;

  private constructor(owner: Owner, web: TestWeb, scratch: string) {
    this.#owner = owner;
    this.#web = web;
    this.#scratch = scratch;
    web.tamper = (request, response) => this.#tamper(request, response);
  }

  /** Starts on the loopback, honest. */
  static async start(owner: Owner): Promise<HostileMirror> {
    const scratch = await mkdtemp(join(tmpdir(), 'kmend-mirror-'));
    return new HostileMirror(owner, await startWeb(owner.repository), scratch);
  }

  /** Base URL of the repository, from this machine. */
  get url(): string {
    return this.#web.url;
  }

  /** The same from a guest of the lab: what the agent's `repository` is to be. */
  get guestUrl(): string {
    return `http://${OPERATOR_ADDRESS}:${new URL(this.#web.url).port}`;
  }

  get mode(): ModeName | 'honest' {
    return this.#staged?.mode ?? 'honest';
  }

  /** Answers that were not the repository's own, since the last change of mode. */
  get answered(): number {
    return this.#answered;
  }

  /** Requests since the last change of mode: status and path. */
  get log(): readonly string[] {
    return this.#web.log;
  }

  /** Turns hostile. */
  async be(mode: ModeName, settings: Partial<Settings> = {}): Promise<void> {
    const directory = await mkdtemp(join(this.#scratch, `${mode}-`));
    const stage = new Stage(this.#owner, directory, { ...DEFAULTS, ...settings }, this.#retired);
    const attack = await ATTACKS[mode](stage);
    this.#change({ mode, attack, directory, firstTaken: false });
  }

  /**
   * Serves what the repository holds, and nothing else. Answers that hang keep hanging until their host gives up.
   */
  beHonest(): void {
    this.#change(undefined);
  }

  /** The owner replaces the online keys, those stolen among them. A running server has to be started again. */
  async rotateKeys(): Promise<void> {
    this.#retired = await loadOnlineKeys(this.#owner.onlineKeys);
    await rotateOnlineKeys(this.#owner);
  }

  async close(): Promise<void> {
    await this.#web.close();
    await rm(this.#scratch, { recursive: true, force: true });
  }

  #change(staged: Staged | undefined): void {
    this.#staged = staged;
    this.#answered = 0;
    this.#web.log = [];
  }

  async #tamper(...[request, response]: Parameters<Tamper>): Promise<boolean> {
    const staged = this.#staged;
    if (staged === undefined) return false;
    const { attack, directory } = staged;
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', this.#web.url).pathname)).slice(1);
    if (attack.first !== undefined && !staged.firstTaken) {
      if (path !== TIMESTAMP_FILE) return false;
      response.once('finish', () => {
        staged.firstTaken = true;
      });
      response.end(attack.first);
      return true;
    }
    const forged = await contents(join(directory, path));
    const file = async (): Promise<Buffer | undefined> => forged ?? contents(join(this.#owner.repository, path));
    if ((await attack.answer?.({ path, request, response, file })) === true) {
      this.#answered++;
      return true;
    }
    if (forged === undefined) return false;
    this.#answered++;
    response.writeHead(200, { 'content-length': forged.length }).end(forged);
    return true;
  }
}

async function contents(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (['ENOENT', 'EISDIR', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
