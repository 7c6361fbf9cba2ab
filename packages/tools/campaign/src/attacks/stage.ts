import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { kernelRole, type LivepatchTarget, manifestPath, modulePath } from '@kmend/protocol';
import { loadOnlineKeys, loadReleaseKey, type OnlineKeys, openRepository, type SigningKey } from '@kmend/trust';
import { type Forge, openForge, targetFile } from '@kmend/trust/testing';

/** Where the owner keeps repository and keys. */
export interface Owner {
  /** What the server serves: `metadata/` and `targets/`. */
  readonly repository: string;
  readonly onlineKeys: string;
  readonly offlineKeys: string;
  readonly clock: Clock;
}

/** Where `kmend server` and `kmend publish` keep all of it, below an operator's home. */
export function ownerOf(home: string, clock: Clock): Owner {
  const server = join(home, 'server');
  return {
    repository: join(server, 'repository'),
    onlineKeys: join(server, 'keys'),
    offlineKeys: join(home, 'keys'),
    clock,
  };
}

export interface Settings {
  /** Which bit is flipped, what noise is sent. */
  readonly seed: number;
  /** How long frozen metadata holds. */
  readonly seconds: number;
}

export interface Exchange {
  /** Of the file asked for, in the repository: `metadata/timestamp.json`. */
  readonly path: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The file as the attack has it, else as the repository has it. */
  file(): Promise<Buffer | undefined>;
}

/** An attack, made ready. Files that it put into its stage's directory are served in place of the repository's. */
export interface Attack {
  /** timestamp.json that is served until a host fetched it: what a host has to know before it can be misled. */
  readonly first?: Buffer;
  /** Answers by itself, and says so. */
  readonly answer?: (exchange: Exchange) => boolean | Promise<boolean>;
}

/** The newest livepatch of a kernel, which the attacks are about. */
export interface Victim {
  readonly buildId: string;
  readonly serial: number;
  readonly description: LivepatchTarget;
  readonly module: Buffer;
  readonly manifest: Buffer;
}

/** What an attack is made on: the repository as it is now, every key of it, and a directory for what is forged. */
export class Stage {
  readonly settings: Settings;
  /** Online keys that were valid before the last rotation. */
  readonly retired: OnlineKeys | undefined;
  readonly #owner: Owner;
  readonly #directory: string;

  constructor(owner: Owner, directory: string, settings: Settings, retired: OnlineKeys | undefined) {
    this.#owner = owner;
    this.#directory = directory;
    this.settings = settings;
    this.retired = retired;
  }

  forge(): Promise<Forge> {
    return openForge(this.#owner.repository, this.#directory);
  }

  online(): Promise<OnlineKeys> {
    return loadOnlineKeys(this.#owner.onlineKeys);
  }

  release(): Promise<SigningKey> {
    return loadReleaseKey(this.#owner.offlineKeys);
  }

  read(path: string): Promise<Buffer> {
    return readFile(join(this.#owner.repository, path));
  }

  /**
   * The owner signs the fleet's policy again: new versions of policy, snapshot and timestamp, as any change brings
   * them.
   */
  async advance(times = 1): Promise<void> {
    const { repository, onlineKeys: keyDirectory, clock } = this.#owner;
    const open = await openRepository({ repository, keyDirectory, clock });
    for (let n = 0; n < times; n++) await open.setFleetPolicy((policy) => policy);
  }

  now(): Date {
    return this.#owner.clock.now();
  }

  async victim(): Promise<Victim> {
    const { repository, onlineKeys: keyDirectory, clock } = this.#owner;
    const open = await openRepository({ repository, keyDirectory, clock });
    const [newest] = [...(await open.livepatches())].sort((a, b) => b.description.serial - a.description.serial);
    if (newest === undefined) throw new Error('the repository holds no livepatch to attack');
    const { buildId, description } = newest;
    const { serial } = description;
    const role = await open.state.role(kernelRole(buildId));
    const bytes = (path: string): Promise<Buffer> =>
      this.read(targetFile(path, role?.signed.targets[path]?.hashes['sha256'] ?? ''));
    return {
      buildId,
      serial,
      description,
      module: await bytes(modulePath(buildId, serial)),
      manifest: await bytes(manifestPath(buildId, serial)),
    };
  }
}
