import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LabError } from './error.ts';
import { parseLine, readLines } from './lines.ts';

/** One message of QEMU's machine protocol (QEMU, docs/interop/qmp-spec): greeting, event, or answer. */
const messageSchema = z.object({
  event: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
  id: z.number().optional(),
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
});

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** QEMU's control channel: the few commands the lab needs, and events. */
export class Qmp {
  readonly #channel: Duplex;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #next = 1;

  constructor(channel: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#channel = channel;
    readLines(channel, (line) => {
      const message = parseLine(line, messageSchema);
      if (message === undefined) return;
      if (message.event !== undefined) onEvent({ name: message.event, data: message.data ?? {} });
      if (message.id === undefined) return;
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.return);
      else waiting?.reject(new LabError('lab-qemu-failed', `QEMU refused a command: ${message.error.desc}`));
    });
  }

  /** Leaves the negotiation mode; to be called once, first. */
  async negotiate(): Promise<void> {
    await this.#execute('qmp_capabilities', {});
  }

  /** The port on the operator's loopback that QEMU forwards to each guest port (`info usernet`). */
  async forwards(): Promise<ReadonlyMap<number, number>> {
    return parseUsernet(await this.#monitor('info usernet'));
  }

  /**
   * Address of the instruction that each virtual processor is at, also of a guest that does not answer any more; it
   * stands still meanwhile.
   */
  async processors(): Promise<bigint[]> {
    await this.#execute('stop', {});
    try {
      return parseRegisters(await this.#monitor('info registers -a'));
    } finally {
      await this.#execute('cont', {});
    }
  }

  /** Keeps memory and disks as they are just now, in the disk's own file; the guest stands still meanwhile. */
  async save(name: string): Promise<void> {
    await this.#must(`savevm ${name}`);
  }

  /** Makes memory and disks what they were, and continues from there. */
  async load(name: string): Promise<void> {
    try {
      await this.#must(`loadvm ${name}`);
    } finally {
      // A guest that could not be set back stands still as well.
      await this.#execute('cont', {});
    }
  }

  /** QEMU is gone: whatever waits for an answer fails. */
  end(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }

  /** A command that says nothing unless it fails. */
  async #must(command: string): Promise<void> {
    const said = (await this.#monitor(command)).trim();
    if (said !== '') throw new LabError('lab-qemu-failed', `QEMU could not ${command}: ${said}`);
  }

  async #monitor(command: string): Promise<string> {
    return z.string().parse(await this.#execute('human-monitor-command', { 'command-line': command }));
  }

  #execute(execute: string, args: object): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#channel.write(`${JSON.stringify({ execute, arguments: args, id })}\n`);
    });
  }
}

/**
 * Reads the forwarded ports out of `info usernet`, guest port to host port. A line of it:
 * `  TCP[HOST_FORWARD]  26       127.0.0.1 34567       10.0.2.15    22     0     0`.
 */
export function parseUsernet(text: string): ReadonlyMap<number, number> {
  const ports = new Map<number, number>();
  for (const line of text.split('\n')) {
    const fields = /^\s*TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)/.exec(line);
    if (fields !== null) ports.set(Number(fields[2]), Number(fields[1]));
  }
  return ports;
}

/**
 * The instruction pointers out of `info registers -a`, processor by processor: `RIP=ffffffff8116fb71 RFL=00000202 ...`.
 */
export function parseRegisters(text: string): bigint[] {
  return [...text.matchAll(/^RIP=([0-9a-f]{16}) /gm)].map(([, hex]) => BigInt(`0x${hex}`));
}
