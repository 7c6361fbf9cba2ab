import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { makeAptRoot } from '@kmend/base/testing';
import type { HostFile } from '../setup.ts';

export interface AptResult {
  readonly exitCode: number;
  /** stdout and stderr. */
  readonly said: string;
}

/** A host as far as apt sees one: lists, status and settings in a folder of its own, nothing of this machine's. */
export class AptHost {
  readonly root: string;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(root: string, env: Readonly<Record<string, string>>) {
    this.root = root;
    this.#env = env;
  }

  static async make(root: string): Promise<AptHost> {
    const stock = (name: string): string =>
      `Package: ${name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nDescription: x\n`;
    const env = await makeAptRoot(root, {
      status: [stock('gpgv'), stock('kmod')].join('\n'),
      settings: ['APT::Machine-ID "0123456789abcdef0123456789abcdef";', 'Debug::NoLocking "1";'],
    });
    return new AptHost(root, env);
  }

  async place(files: readonly HostFile[]): Promise<void> {
    for (const { path, mode, text } of files) await writeFile(join(this.root, path), text, { mode });
  }

  async get(...words: string[]): Promise<AptResult> {
    return await this.#run('apt-get', words);
  }

  async cache(...words: string[]): Promise<AptResult> {
    return await this.#run('apt-cache', words);
  }

  async #run(program: string, words: readonly string[]): Promise<AptResult> {
    const { exitCode, stdout, stderr } = await run(program, words, { env: this.#env });
    return { exitCode, said: `${stdout.toString()}${stderr}` };
  }

  /** A kernel of the distribution counts as installed, but not as asked for. */
  async kernel(release: string, version: string): Promise<void> {
    const stanza = `\nPackage: linux-image-${release}\nStatus: install ok installed\nVersion: ${version}\nArchitecture: amd64\nDescription: x\n`;
    await appendFile(join(this.root, 'var/lib/dpkg/status'), stanza);
  }

  /** The lists of the last update are forgotten. */
  async forget(): Promise<void> {
    await rm(join(this.root, 'var/lib/apt/lists'), { recursive: true, force: true });
    await mkdir(join(this.root, 'var/lib/apt/lists/partial'), { recursive: true });
  }

  /** Package files count as installed; `auto`: as dependencies of another one. */
  async installed(debs: readonly string[], auto: readonly string[] = []): Promise<void> {
    const path = join(this.root, 'var/lib/dpkg/status');
    let status = await readFile(path, 'utf8');
    for (const deb of debs) {
      const control = (await runOk(run, 'dpkg-deb', ['--field', deb])).toString();
      status += `\n${control.replace(/^Version:/m, 'Status: install ok installed\nVersion:')}`;
    }
    await writeFile(path, status);
    const states = auto.map((name) => `Package: ${name}\nArchitecture: amd64\nAuto-Installed: 1\n`);
    await writeFile(join(this.root, 'var/lib/apt/extended_states'), states.join('\n'));
  }
}

/** What a simulated run would do, in its order: `Inst NAME`, `Remv NAME`. */
export function planOf({ said }: AptResult): string[] {
  return said
    .split('\n')
    .map((line) => /^(Inst|Remv) (\S+)/.exec(line))
    .flatMap((found) => (found === null ? [] : [`${found[1]} ${found[2]}`]));
}
