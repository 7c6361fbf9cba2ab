import type { Kernel, KernelStore } from '@kmend/kernel';
import type { Lab } from '@kmend/lab';
import { FIXES, importFixes, KERNEL, MORE, SUITE } from '../fixes.ts';
import { openLab } from '../open-lab.ts';
import { Operator, type ServerProcess } from '../operator.ts';
import { patchOf } from '../patch.ts';
import { HOST_PACKAGES, PackagedHost } from './packaged-host.ts';
import { Publisher } from './publisher.ts';

const [options, aead] = FIXES;

/** Fixes that are no matter of security: each adds a line to /proc/version. */
export const NOTE = 'note';
export const AGAIN = 'again';

/** Fixes in the order of the stack, from the bottom. `again` changes what `note` changed. */
export const SERIES = [options.id, NOTE, aead.id, MORE.id, AGAIN] as const;

/** The package that a person installs, and that of one fix. */
export const META = `livepatch-${KERNEL}`;
export const packageOf = (fix: string): string => `${META}-${fix.toLowerCase()}`;

/** An operator who publishes packages, a server that serves them, and the key that opens it for hosts. */
export class Setting {
  readonly operator: Operator;
  readonly lab: Lab;
  readonly publisher: Publisher;
  /** The activation key's id, and the key. */
  readonly key: { readonly id: string; readonly key: string };
  readonly server: ServerProcess;
  readonly #kernels: KernelStore;

  private constructor(parts: {
    operator: Operator;
    lab: Lab;
    publisher: Publisher;
    key: { id: string; key: string };
    server: ServerProcess;
    kernels: KernelStore;
  }) {
    this.operator = parts.operator;
    this.lab = parts.lab;
    this.publisher = parts.publisher;
    this.key = parts.key;
    this.server = parts.server;
    this.#kernels = parts.kernels;
  }

  static async make(signal: AbortSignal): Promise<Setting> {
    const operator = await Operator.make(signal);
    await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
    await importFixes((...args) => operator.kmend(...args), [options, aead, MORE]);
    const notes = {
      [NOTE]: await patchOf(operator, 'fs/proc/version.c', says(NOTE)),
      [AGAIN]: await patchOf(operator, 'fs/proc/version.c', says(AGAIN), says(NOTE)),
    };
    for (const [id, patch] of Object.entries(notes))
      await operator.kmend('fix', 'import', '--id', id, '--patch', patch);
    const server = await operator.startServer();
    const publisher = await Publisher.make(operator, server);
    const key = await operator.kmend<{ id: string; key: string }>('key', 'create', '--name', 'hosts', '--seats', '5');
    return new Setting({ operator, publisher, key, server, ...openLab(operator.cache, signal) });
  }

  kernel(release: string): Promise<Kernel> {
    return this.#kernels.open(release);
  }

  /** A Debian host with apt and unattended-upgrades, which follows nothing yet. */
  async boot(name: string): Promise<PackagedHost> {
    return new PackagedHost(
      await this.lab.boot(await this.kernel(KERNEL), { name, cpus: 1, packages: HOST_PACKAGES, reachesOperator: true }),
    );
  }

  /** Signs and uploads what is in the depot, with one livepatch more. What a host's root shell is given. */
  async offer(folder?: string, suite: 'updates' | 'security' = 'updates'): Promise<string> {
    if (folder !== undefined) await this.publisher.add(folder);
    return await this.publisher.publish(this.key.key, suite);
  }

  async close(): Promise<void> {
    await this.lab.close();
    await this.server.stop();
    await this.operator.remove();
  }
}

function says(word: string): (text: string) => string {
  const end = '\treturn 0;\n}\n\nstatic int __init';
  return (text) => text.replace(end, `\tseq_puts(m, "${word}\\n");\n${end}`);
}
