import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LabError } from './error.ts';
import { parseLine, readLines } from './lines.ts';
import type { Accelerator } from './qemu.ts';

/** An answer of the QEMU guest agent (QEMU, docs/interop/qemu-ga-ref): one of the two members. */
const answerSchema = z.object({
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
});

/** Milliseconds for an answer. On a busy machine an emulated guest has been silent for half a minute, and was sound. */
const ANSWER_MS = { kvm: 30_000, tcg: 180_000 } as const satisfies Record<Accelerator, number>;
const SYNC_TIMEOUT_MS = 10_000;

interface Pending {
  settle(answer: z.infer<typeof answerSchema>): void;
  fail(error: Error): void;
}

/** The agent refused a command; `desc` is its text. */
export class GuestAgentRefusal extends Error {}

/**
 * Speaks with qemu-guest-agent in the guest over a virtio-serial channel, one command at a time. After a silence (a
 * command timed out, the guest rebooted) the channel is synchronised again before the next command.
 */
export class GuestAgent {
  readonly #channel: Duplex;
  readonly #answerMs: number;
  #queue: Promise<unknown> = Promise.resolve();
  #pending: Pending | undefined;
  #synced = false;
  #syncs = 0;
  #dead: Error | undefined;

  constructor(channel: Duplex, accelerator: Accelerator) {
    this.#channel = channel;
    this.#answerMs = ANSWER_MS[accelerator];
    readLines(channel, (line) => this.#onLine(line));
  }

  /** Runs one command of the agent and validates its answer. */
  execute<T>(command: string, schema: z.ZodType<T>, args: object = {}, timeoutMs = this.#answerMs): Promise<T> {
    const turn = this.#queue.then(async () => {
      if (!this.#synced) await this.#synchronise();
      const answer = await this.#exchange(`${JSON.stringify({ execute: command, arguments: args })}\n`, timeoutMs);
      if (answer.error !== undefined) throw new GuestAgentRefusal(answer.error.desc);
      const parsed = schema.safeParse(answer.return);
      if (!parsed.success) {
        throw new LabError('lab-guest-garbage', `the guest agent answered ${command} with something else`, {
          cause: parsed.error,
        });
      }
      return parsed.data;
    });
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /**
   * The guest closed its end (a reboot, the agent restarting): what is running is lost, later commands start afresh.
   */
  interrupt(error: Error): void {
    this.#synced = false;
    this.#pending?.fail(error);
  }

  /** No guest any more: everything fails with `error` from now on. */
  end(error: Error): void {
    this.#dead = error;
    this.interrupt(error);
  }

  async #synchronise(): Promise<void> {
    const id = ++this.#syncs;
    const request = Buffer.from(
      `\xff${JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } })}\n`,
      'latin1',
    );
    await this.#exchange(request, SYNC_TIMEOUT_MS, (answer) => answer.return === id);
    this.#synced = true;
  }

  async #exchange(
    request: string | Buffer,
    timeoutMs: number,
    fits: (answer: z.infer<typeof answerSchema>) => boolean = () => true,
  ): Promise<z.infer<typeof answerSchema>> {
    if (this.#dead !== undefined) throw this.#dead;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending = {
          settle: (answer) => {
            if (fits(answer)) resolve(answer);
          },
          fail: reject,
        };
        timer = setTimeout(() => {
          this.#synced = false;
          reject(new LabError('lab-guest-gone', `the guest agent did not answer within ${timeoutMs / 1000} s`));
        }, timeoutMs);
        this.#channel.write(request);
      });
    } finally {
      clearTimeout(timer);
      this.#pending = undefined;
    }
  }

  #onLine(line: string): void {
    // What does not parse is the rest of an answer whose caller gave up.
    const answer = parseLine(line, answerSchema);
    if (answer !== undefined) this.#pending?.settle(answer);
  }
}
