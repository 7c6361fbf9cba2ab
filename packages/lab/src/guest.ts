import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { type Clock, errorText } from '@kmend/base';
import { z } from 'zod';
import { LabError } from './error.ts';
import { type GuestAgent, GuestAgentRefusal } from './guest-agent.ts';

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

const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C.UTF-8'];
const DEFAULT_TIMEOUT_MS = 60_000;
/** `timeout` sends SIGTERM first and SIGKILL this much later. */
const KILL_AFTER_S = 2;
/** How much longer than the guest's own `timeout` the lab waits before it gives the guest up. */
const GRACE_MS = 15_000;
const FIRST_POLL_MS = 4;
const SLOWEST_POLL_MS = 150;

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
): Promise<GuestResult> {
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
      return { exitCode, stdout: decode(status['out-data']), stderr: decode(status['err-data']) };
    }
    if (clock.monotonic() - start > timeoutMs + GRACE_MS) throw timedOut();
    await clock.sleep(pause);
  }
}

const CHUNK = 1024 * 1024;

/** Writes a file through the agent: temporary file beside it, then mode and rename, so that it is there whole or not at all. */
export async function writeGuestFile(
  agent: GuestAgent,
  clock: Clock,
  bytes: Uint8Array,
  path: string,
  mode: number,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const shell = async (script: string, ...args: string[]): Promise<void> => {
    const result = await runInGuest(agent, clock, ['/bin/sh', '-c', script, 'sh', ...args]);
    if (result.exitCode !== 0)
      throw new LabError('lab-copy-failed', `${path} was not written: ${result.stderr.trim()}`);
  };
  await shell('mkdir -p -- "$1"', posix.dirname(path));
  try {
    const handle = await agent.execute('guest-file-open', z.number(), { path: temporary, mode: 'wb' });
    try {
      for (let at = 0; at < bytes.length; at += CHUNK) {
        const chunk = Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(CHUNK, bytes.length - at));
        const written = await agent.execute('guest-file-write', z.object({ count: z.number() }), {
          handle,
          'buf-b64': chunk.toString('base64'),
        });
        if (written.count !== chunk.length) throw new LabError('lab-copy-failed', `${path}: short write in the guest`);
      }
    } finally {
      await agent.execute('guest-file-close', z.unknown(), { handle });
    }
    await shell('chmod "$1" "$2" && mv -f -- "$2" "$3"', mode.toString(8), temporary, path);
  } catch (error) {
    if (!(error instanceof GuestAgentRefusal || error instanceof LabError)) throw error;
    await shell('rm -f -- "$1"', temporary).catch(() => {});
    if (error instanceof LabError) throw error;
    throw new LabError('lab-copy-failed', `${path} was not written: ${errorText(error)}`, { cause: error });
  }
}

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8');
}
