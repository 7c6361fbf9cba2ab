import { readNotes } from '@kmend/elf';
import type { Host } from '../host.ts';
import { complaints, newTaints } from '../kernel-log.ts';
import { ProofFailure } from './failure.ts';
import { PATIENCE_MS } from './patience.ts';

const NT_GNU_BUILD_ID = 3;

/** Build id of the kernel a host runs (`/sys/kernel/notes`, kernel/ksysfs.c). */
export async function runningBuildId(host: Host): Promise<string | undefined> {
  const notes = readNotes(await host.readFile('/sys/kernel/notes'));
  const found = notes.find(({ owner, type }) => owner === 'GNU' && type === NT_GNU_BUILD_ID);
  return found === undefined ? undefined : Buffer.from(found.content).toString('hex');
}

const READ = 'cat /proc/sys/kernel/tainted && dmesg';

/** Watches what a host's kernel says, step by step: a line in the log itself marks where each step begins. */
export class KernelWatch {
  readonly #host: Pick<Host, 'check' | 'console'>;
  #taint = 0;
  #first = '';
  #mark = '';
  #marks = 0;

  constructor(host: Pick<Host, 'check' | 'console'>) {
    this.#host = host;
  }

  /** What the kernel said and is until here is its own. */
  async begin(): Promise<void> {
    this.#taint = Number(await this.#host.check(['cat', '/proc/sys/kernel/tainted']));
    await this.mark('begin');
    this.#first = this.#mark;
  }

  /** A step begins. */
  async mark(name: string): Promise<void> {
    this.#mark = `kmend-lab: ${++this.#marks} ${name}`;
    await this.#host.check(['/bin/sh', '-c', 'echo "$1" >/dev/kmsg', 'sh', this.#mark], { timeoutMs: PATIENCE_MS });
  }

  /** Throws `ProofFailure` for a complaint or a taint since the last mark. */
  requireQuiet(): Promise<void> {
    return this.#require(this.#mark).then(() => {});
  }

  /** The same since the beginning; the number of lines that were read. */
  requireQuietThroughout(): Promise<number> {
    return this.#require(this.#first);
  }

  /**
   * What is wrong since the last mark, for a step that failed already. A kernel that does not answer any more has said
   * why on its console.
   */
  async wrong(): Promise<readonly string[]> {
    const log = await this.#log().catch(() => this.#host.console());
    return complaints(since(log, this.#mark) ?? log);
  }

  async #log(): Promise<string> {
    const [, log] = split(await this.#host.check(READ, { timeoutMs: PATIENCE_MS }));
    return log;
  }

  async #require(mark: string): Promise<number> {
    const [taint, log] = split(await this.#host.check(READ, { timeoutMs: PATIENCE_MS }));
    const lines = since(log, mark);
    if (lines === undefined) {
      throw new ProofFailure('the kernel log overran: it no longer reaches back to where the step began');
    }
    const found = complaints(lines);
    if (found.length > 0) throw new ProofFailure('the kernel log complains', found);
    const taints = newTaints(this.#taint, Number(taint));
    if (taints.length > 0) throw new ProofFailure(`the kernel became tainted (bits ${taints.join(', ')})`);
    return lines.split('\n').length;
  }
}

function split(text: string): [taint: string, log: string] {
  const end = text.indexOf('\n');
  return [text.slice(0, end), text.slice(end + 1)];
}

/** The log after a mark; `undefined` if the mark is lost. */
export function since(log: string, mark: string): string | undefined {
  const lines = log.split('\n');
  const at = lines.findLastIndex((line) => line.endsWith(`] ${mark}`));
  return at === -1 ? undefined : lines.slice(at + 1).join('\n');
}
