import { join } from 'node:path';
import { OPERATOR_ADDRESS } from '@kmend/lab';
import { KERNEL } from '../fixes.ts';
import type { Operator, ServerProcess } from '../operator.ts';

export const ORIGIN = 'Lab';

/** What `kmend repo packages add` says of one livepatch. */
interface Taken {
  readonly package: string;
  readonly version: string;
  /** The state of the metapackage that it made. */
  readonly serial: number;
}

/** An operator's depot and APT repository, all by `kmend` and served by a real server. */
export class Publisher {
  readonly #operator: Operator;
  readonly #server: ServerProcess;
  readonly #kernel: string;
  /** Fixes of the stack, from the bottom. */
  readonly #stack: string[] = [];

  private constructor(operator: Operator, server: ServerProcess, kernel: string) {
    this.#operator = operator;
    this.#server = server;
    this.#kernel = kernel;
  }

  /** `kernel`: the release that livepatches are built for. */
  static async make(operator: Operator, server: ServerProcess, kernel: string = KERNEL): Promise<Publisher> {
    const publisher = new Publisher(operator, server, kernel);
    await operator.kmend(
      ...['repo', 'packages', 'init', '--origin', ORIGIN, '--maintainer', 'The Lab <lab@example.org>'],
      ...['--url', `${publisher.url}/packages`],
    );
    return publisher;
  }

  /** Of the server, as guests reach it. */
  get url(): string {
    return `http://${OPERATOR_ADDRESS}:${this.#server.port}`;
  }

  /** The folder that the server serves, which a test may change. */
  get served(): string {
    return join(this.#operator.home, 'server', 'packages', 'apt', 'current');
  }

  /** The publisher's secret key. */
  get keyFile(): string {
    return join(this.#operator.home, 'keys', 'packages.key');
  }

  /** Builds a stacked livepatch of a fix on top of those before, without publishing it. The folder it is in. */
  async buildStacked(fix: string): Promise<string> {
    const out = join(this.#operator.home, `stacked-${fix}`);
    const on = this.#stack.length > 0 ? ['--on', ...this.#stack] : [];
    await this.#build(out, '--stacked', ...on, '--fix', fix);
    this.#stack.push(fix);
    return out;
  }

  /** Builds the cumulative livepatch of the whole stack. The folder it is in. */
  async buildCumulative(...more: string[]): Promise<string> {
    const out = join(this.#operator.home, 'cumulative');
    await this.#build(out, '--fix', ...this.#stack, ...more);
    return out;
  }

  async #build(out: string, ...args: string[]): Promise<void> {
    await this.#operator.kmend('build', '--kernel', this.#kernel, '--out', out, '--accept-review', ...args);
  }

  /** Takes a livepatch into the depot. */
  async add(directory: string, ...options: string[]): Promise<Taken> {
    const { taken } = await this.#operator.kmend<{ taken: Taken[] }>(
      ...['repo', 'packages', 'add', directory, '--unproven', ...options],
    );
    const [one] = taken;
    if (one === undefined) throw new Error(`nothing was added from ${directory}`);
    return one;
  }

  /** The share of the hosts that take the newest state by themselves, in percent. */
  async phase(percent: number): Promise<void> {
    await this.#operator.kmend('repo', 'packages', 'phase', this.#kernel, String(percent));
  }

  /** Signs and uploads the repository. What a host's root shell is given, with the activation key in it. */
  async publish(activationKey: string, suite: 'updates' | 'security' = 'updates'): Promise<string> {
    const { snippet } = await this.#operator.kmend<{ snippet: string }>('repo', 'apt', '--suite', suite);
    return snippet.replaceAll('ACTIVATION-KEY', activationKey);
  }
}
