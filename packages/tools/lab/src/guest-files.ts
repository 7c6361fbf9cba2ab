import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { type Clock, errorText } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { z } from 'zod';
import { LabError } from './error.ts';
import { runInGuest } from './guest.ts';
import { type GuestAgent, GuestAgentRefusal } from './guest-agent.ts';
import type { Machine } from './machine.ts';
import { DATA_PORT } from './qemu.ts';

const CHUNK = 256 * 1024;
/** From here on the data channel is worth its extra commands. */
const BULK = 512 * 1024;
const TRANSFER_TIMEOUT_MS = 5 * 60_000;

/**
 * Takes exactly $2 bytes off the port, also when the disk is full, so that the next transfer starts at its beginning.
 */
const RECEIVE = `head -c "$2" <"/dev/virtio-ports/${DATA_PORT}" | { cat >"$1" || { cat >/dev/null; exit 1; }; } && sha256sum <"$1"`;

/**
 * Writes a file into the guest: under another name beside it, then mode and rename, so that it is there whole or not at
 * all.
 */
export async function writeGuestFile(
  machine: Machine,
  clock: Clock,
  bytes: Uint8Array,
  { path, mode }: { readonly path: string; readonly mode: number },
): Promise<void> {
  const { agent } = machine;
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const shell = async (script: string, ...args: string[]): Promise<string> => {
    const words = ['/bin/sh', '-c', script, 'sh', ...args];
    const result = await runInGuest(agent, clock, words, { timeoutMs: TRANSFER_TIMEOUT_MS });
    if (result.exitCode === 0) return result.stdout.toString('utf8');
    throw new LabError('lab-copy-failed', `${path} was not written: ${result.stderr.toString('utf8').trim()}`);
  };
  await shell('mkdir -p -- "$1"', posix.dirname(path));
  try {
    if (bytes.length >= BULK && machine.data.usable) {
      const answer = await machine.data.send(bytes, () => shell(RECEIVE, temporary, String(bytes.length)));
      const expected = sha256(bytes);
      if (!answer.startsWith(expected)) throw new LabError('lab-copy-failed', `${path} arrived damaged`);
    } else {
      await writeThroughAgent(agent, bytes, temporary);
    }
    await shell('chmod "$1" "$2" && mv -f -- "$2" "$3"', mode.toString(8), temporary, path);
  } catch (error) {
    await shell('rm -f -- "$1"', temporary).catch(() => {});
    if (!(error instanceof GuestAgentRefusal)) throw error;
    throw new LabError('lab-copy-failed', `${path} was not written: ${errorText(error)}`, { cause: error });
  }
}

async function writeThroughAgent(agent: GuestAgent, bytes: Uint8Array, path: string): Promise<void> {
  const handle = await agent.execute('guest-file-open', z.number(), { path, mode: 'wb' });
  try {
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(CHUNK, bytes.length - at));
      const request = { handle, 'buf-b64': chunk.toString('base64') };
      const written = await agent.execute('guest-file-write', z.object({ count: z.number() }), request);
      if (written.count !== chunk.length) throw new GuestAgentRefusal('short write');
    }
  } finally {
    await agent.execute('guest-file-close', z.unknown(), { handle });
  }
}

/** Reads a file of the guest, at most 16 MiB. */
export async function readGuestFile(agent: GuestAgent, clock: Clock, path: string): Promise<Buffer> {
  const result = await runInGuest(agent, clock, ['cat', '--', path]);
  if (result.exitCode === 0) return result.stdout;
  throw new LabError('lab-copy-failed', `${path} was not read: ${result.stderr.toString('utf8').trim()}`);
}
