import type { Host } from '../host.ts';
import { PATIENCE_MS } from './patience.ts';

/** Takes module $1 out of memory, after those that use it; tried again for a moment, as its last user may be going. */
const REMOVE = `
remove() {
  [ -d "/sys/module/$1" ] || return 0
  for holder in $(ls "/sys/module/$1/holders"); do remove "$holder" || return 1; done
  for i in 1 2 3 4 5; do rmmod "$1" && return 0; sleep 0.2; done
  return 1
}
remove "$1"
`;

/** Modules that a livepatch patches, as they can be had in one guest. */
export class PatchedModules {
  readonly #host: Host;
  readonly #names: readonly string[];
  /** What modprobe said of modules that did not load beside the livepatch. */
  readonly #refused = new Map<string, string>();

  constructor(host: Host, names: readonly string[]) {
    this.#host = host;
    this.#names = names;
  }

  /** Takes them out of memory; names those that stay because the guest itself is using them. */
  async removeAll(): Promise<string[]> {
    const inUse: string[] = [];
    for (const name of this.#names) {
      const { exitCode } = await this.#host.run(['/bin/sh', '-c', REMOVE, 'sh', name], { timeoutMs: PATIENCE_MS });
      if (exitCode !== 0) inUse.push(name);
    }
    return inUse;
  }

  /** Loads those that can be loaded while the livepatch is in force, and names them. */
  async loadBeside(names: readonly string[]): Promise<string[]> {
    const loaded: string[] = [];
    for (const name of names) {
      const words = await this.#load(name);
      if (words === undefined) loaded.push(name);
      else this.#refused.set(name, words);
    }
    return loaded;
  }

  /**
   * Loads them on the kernel alone, before the livepatch. Some want hardware that the guest does not have: `absent`
   * says which and why. One that loads now but did not beside the livepatch is in `spoilt`.
   */
  async loadAlone(): Promise<{ readonly absent: ReadonlyMap<string, string>; readonly spoilt: readonly string[] }> {
    const absent = new Map<string, string>();
    const spoilt: string[] = [];
    for (const name of this.#names) {
      const words = await this.#load(name);
      if (words !== undefined) absent.set(name, words);
      else if (this.#refused.has(name)) spoilt.push(`${name}: ${this.#refused.get(name)}`);
    }
    return { absent, spoilt };
  }

  /** `undefined` when it is in memory then, else modprobe's words. */
  async #load(name: string): Promise<string | undefined> {
    const { exitCode, stderr } = await this.#host.run(['modprobe', '--', name], { timeoutMs: PATIENCE_MS });
    return exitCode === 0 ? undefined : stderr.trim() || `modprobe ended with ${exitCode}`;
  }
}
