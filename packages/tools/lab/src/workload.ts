import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { Clock } from '@kmend/base';
import { z } from 'zod';
import { LabError } from './error.ts';
import type { Host } from './host.ts';

/** Where a guest finds the operator's loopback in QEMU's user network, if it may (`BootOptions.reachesOperator`). */
export const OPERATOR_ADDRESS = '10.0.2.2';

/** What a workload lived through. */
export interface WorkloadResult {
  readonly sent: number;
  /** Records that came back whole and in order. */
  readonly echoed: number;
  /** Records that did not. */
  readonly lost: number;
  /** Longest time without an echo, by the guest's clock; a record is sent every 5 ms. */
  readonly longestGapMs: number;
  readonly seconds: number;
}

/** What the guest's program writes at its end (guest/workload.c). */
const reportSchema = z.object({
  sent: z.int().nonnegative(),
  echoed: z.int().nonnegative(),
  damaged: z.int().nonnegative(),
  longestGapMs: z.number().nonnegative(),
  seconds: z.number().nonnegative(),
  error: z.string(),
});

/** Bytes of a record; the same in guest/workload.c. */
export const RECORD = 64;
const START_TIMEOUT_MS = 30_000;
const PROGRAM = '/run/kmend-lab/workload';
/** Port of the guest that the workload waits at; every guest has it forwarded. */
export const WORKLOAD_PORT = 40961;
const RETRY_MS = 100;

/** The record of a number: the number, big-endian, then bytes that depend on it. */
export function record(number: number): Buffer {
  const bytes = Buffer.alloc(RECORD);
  bytes.writeBigUInt64BE(BigInt(number));
  for (let i = 8; i < RECORD; i++) bytes[i] = (number * 31 + i * 7) & 0xff;
  return bytes;
}

/** Checks that a stream is the records 0, 1, 2, ... without a byte lost, changed or out of order. */
export class StreamCheck {
  #partial: Buffer = Buffer.alloc(0);
  intact = 0;
  damaged = 0;

  add(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#partial, chunk]);
    for (; bytes.length >= RECORD; bytes = bytes.subarray(RECORD)) {
      if (bytes.subarray(0, RECORD).equals(record(this.intact + this.damaged))) this.intact++;
      else this.damaged++;
    }
    this.#partial = bytes;
  }
}

/** A TCP connection from this process to a guest, on which numbered records go round all the time. */
export class Workload {
  readonly #host: Host;
  readonly #echo: Echo;
  readonly #pid: string;
  readonly #report: string;

  private constructor(host: Host, echo: Echo, pid: string, report: string) {
    this.#host = host;
    this.#echo = echo;
    this.#pid = pid;
    this.#report = report;
  }

  /**
   * Starts the program in the guest (`program` is the compiled one) and connects to it; resolves once records go
   * round.
   */
  static async start(host: Host, program: string, clock: Clock): Promise<Workload> {
    const port = host.forwards.get(WORKLOAD_PORT);
    if (port === undefined) throw new LabError('lab-workload-failed', `${host.name} has no port for the workload`);
    await host.copyIn(program, PROGRAM, 0o755);
    const report = `/run/kmend-lab/workload-${randomBytes(6).toString('hex')}.json`;
    const launch = `setsid ${PROGRAM} ${WORKLOAD_PORT} ${report} </dev/null >/dev/null 2>&1 & echo $!`;
    const pid = await host.check(launch);
    const timeout = new AbortController();
    const late = clock.sleep(START_TIMEOUT_MS, timeout.signal).then(
      () => true,
      () => true,
    );
    let isLate = false;
    void late.then(() => {
      isLate = true;
    });
    try {
      while (!isLate) {
        const echo = new Echo(port);
        // QEMU accepts and closes a connection to a port without a listener.
        if (await Promise.race([echo.first, echo.closed, late.then(() => false)]))
          return new Workload(host, echo, pid, report);
        echo.close();
        await clock.sleep(RETRY_MS);
      }
    } finally {
      timeout.abort();
    }
    throw new LabError('lab-workload-failed', `the workload's program in ${host.name} was not reached`);
  }

  /** Records that arrived here whole and in order so far. */
  get received(): number {
    return this.#echo.check.intact;
  }

  /** Ends the workload; `lab-workload-failed` when the connection broke or the guest's program is gone. */
  async stop(): Promise<WorkloadResult> {
    try {
      const end = 'kill -TERM "$1" && while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; cat "$2"';
      const text = await this.#host.run(['/bin/sh', '-c', end, 'sh', this.#pid, this.#report]);
      const report = parseReport(text.stdout);
      if (report === undefined) {
        throw new LabError(
          'lab-workload-failed',
          `the workload in ${this.#host.name} left no report: ${text.stderr.trim()}`,
        );
      }
      const { sent, echoed, longestGapMs, seconds } = report;
      // What arrived here damaged and was echoed so is damaged there too; the larger count is the truth.
      const lost = Math.max(sent - echoed, this.#echo.check.damaged);
      const result: WorkloadResult = { sent, echoed, lost, longestGapMs, seconds };
      if (report.error !== '') {
        throw new LabError('lab-workload-failed', `the workload's connection broke: ${report.error}`, {
          details: { ...result },
        });
      }
      return result;
    } finally {
      this.abandon();
    }
  }

  /** Closes the connection without asking the guest. */
  abandon(): void {
    this.#echo.close();
  }
}

/** One connection whose data is checked and sent back. */
class Echo {
  readonly check = new StreamCheck();
  /** True once there was anything. */
  readonly first: Promise<boolean>;
  /** False once it is closed. */
  readonly closed: Promise<boolean>;
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('error', () => {}); // the guest's side of the story is in its report
    this.first = new Promise((resolve) => {
      this.#socket.on('data', (chunk) => {
        this.check.add(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
        resolve(true);
        this.#socket.write(chunk);
      });
    });
    this.closed = new Promise((resolve) => {
      this.#socket.on('close', () => resolve(false));
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** The guest's report; `undefined` when it is not one. */
export function parseReport(text: string): z.infer<typeof reportSchema> | undefined {
  try {
    return reportSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
