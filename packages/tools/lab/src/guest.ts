import type { Clock } from '@kmend/base';
import { z } from 'zod';
import { LabError } from './error.ts';
import type { GuestAgent } from './guest-agent.ts';

export interface GuestRunOptions {
  /** Milliseconds until the command and what it started are killed. Default 60 s. */
  readonly timeoutMs?: number;
  /** At most a few MiB: it travels in one message. */
  readonly stdin?: string | Uint8Array;
  /** The guest's user to run as; default root. */
  readonly user?: string;
}

export interface GuestResult {
  /** 128 + n where the command died of signal n. */
  readonly exitCode: number;
  /** At most 16 MiB each, as UTF-8; more is `lab-output-too-large`. */
  readonly stdout: string;
  readonly stderr: string;
}

/** The same, with the bytes as they came. */
export interface RawGuestResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C.UTF-8'];
const DEFAULT_TIMEOUT_MS = 60_000;
/** `timeout` sends SIGTERM first and SIGKILL this much later. */
const KILL_AFTER_S = 2;
/** How much longer than the guest's own `timeout` the lab waits before it gives the guest up. */
const GRACE_MS = 15_000;
const FIRST_POLL_MS = 4;
const SLOWEST_POLL_MS = 500;

const startedSchema = z.object({ pid: z.number() });
/** QEMU, docs/interop/qemu-ga-ref, GuestExecStatus. */
const statusSchema = z.object({
  exited: z.boolean(),
  exitcode: z.number().optional(),
  signal: z.number().optional(),
  'out-data': z.string().optional(),
  'err-data': z.string().optional(),
  'out-truncated': z.boolean().optional(),
  'err-truncated': z.boolean().optional(),
});

export async function runInGuest(
  agent: GuestAgent,
  clock: Clock,
  command: string | readonly string[],
  options: GuestRunOptions = {},
): Promise<RawGuestResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const words = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
  const asUser = options.user === undefined ? [] : ['runuser', '-u', options.user, '--'];
  const start = clock.monotonic();
  const { pid } = await agent.execute('guest-exec', startedSchema, {
    path: '/usr/bin/timeout',
    arg: [`--kill-after=${KILL_AFTER_S}`, String(timeoutMs / 1000), ...asUser, ...words],
    env: ENVIRONMENT,
    'capture-output': true,
    ...(options.stdin === undefined ? {} : { 'input-data': Buffer.from(options.stdin).toString('base64') }),
  });
  const timedOut = (): LabError => {
    const text = words.join(' ').slice(0, 500);
    return new LabError('lab-command-timeout', `a command did not end within ${timeoutMs / 1000} s: ${text}`);
  };
  for (let pause = FIRST_POLL_MS; ; pause = Math.min(pause * 1.5, SLOWEST_POLL_MS)) {
    const status = await agent.execute('guest-exec-status', statusSchema, { pid });
    const late = clock.monotonic() - start > timeoutMs;
    if (status.exited) {
      // `timeout` answers 124, or 137 when SIGTERM was not enough: its own only once the time is over.
      const exitCode = status.exitcode ?? 128 + (status.signal ?? 0);
      if (late && (exitCode === 124 || exitCode === 137)) throw timedOut();
      if (status['out-truncated'] || status['err-truncated']) {
        throw new LabError(
          'lab-output-too-large',
          `a command printed more than 16 MiB: ${words.join(' ').slice(0, 500)}`,
        );
      }
      const stdout = Buffer.from(status['out-data'] ?? '', 'base64');
      return { exitCode, stdout, stderr: Buffer.from(status['err-data'] ?? '', 'base64') };
    }
    if (clock.monotonic() - start > timeoutMs + GRACE_MS) throw timedOut();
    await clock.sleep(pause);
  }
}
