import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { buildIdOfNotes } from './notes.ts';

/**
 * The build id inside a kernel image (`/boot/vmlinuz-*`), read as a stream: unpacked it is larger than this process may
 * be.
 */

/**
 * Documentation/arch/x86/boot.rst: HdrS at 0x202, setup_sects at 0x1f1, payload_offset at 0x248, payload_length at
 * 0x24c.
 */
const HEADER = 0x250;
/** Long enough for a slow machine; nothing else is done meanwhile. */
const TIME_MS = 60_000;
const MAX_UNPACKED = 512 * 2 ** 20;
/** gABI, "Program Header". */
const PT_NOTE = 4;
const MAX_NOTES = 65_536;

const formats = [
  { magic: '1f8b', unpack: (packed: Readable) => packed.pipe(createGunzip()) },
  { magic: '28b52ffd', unpack: (packed: Readable) => packed.pipe(createZstdDecompress()) },
  { magic: 'fd377a', unpack: (packed: Readable) => throughXz(packed) },
] as const;

/** The last four bytes of a payload are no part of it: xz has said everything by then. */
function throughXz(packed: Readable): Readable {
  const child = spawn('/usr/bin/xz', ['-dc', '--single-stream', '--memlimit-decompress=96MiB'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.on('error', () => child.stdout.destroy());
  child.stdin.on('error', () => {});
  packed.pipe(child.stdin);
  child.stdout.on('close', () => child.kill());
  return child.stdout;
}

/** `undefined` where the image does not tell: no bzImage, another packing, damaged. */
export async function buildIdOfImage(path: string): Promise<string | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const payload = await payloadOf(file);
    if (payload === undefined) return undefined;
    const packed = file.createReadStream({ ...payload, autoClose: false });
    const head = (await file.read(Buffer.alloc(4), 0, 4, payload.start)).buffer.toString('hex');
    const format = formats.find(({ magic }) => head.startsWith(magic));
    if (format === undefined) return undefined;
    const unpacked = format.unpack(packed);
    const stop = (): void => void unpacked.destroy();
    // A pipe passes on no error.
    packed.on('error', stop);
    unpacked.on('error', stop);
    const timer = setTimeout(stop, TIME_MS);
    try {
      return await buildIdOfStream(unpacked);
    } finally {
      clearTimeout(timer);
      unpacked.destroy();
      packed.destroy();
    }
  } finally {
    await file.close();
  }
}

async function payloadOf(file: FileHandle): Promise<{ start: number; end: number } | undefined> {
  const about = await file.stat();
  const header = Buffer.alloc(HEADER);
  const { bytesRead } = await file.read(header, 0, HEADER, 0);
  if (!about.isFile() || bytesRead < HEADER || header.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const start = ((header[0x1f1] || 4) + 1) * 512 + header.readUInt32LE(0x248);
  const end = start + header.readUInt32LE(0x24c) - 1;
  return end >= about.size || end <= start ? undefined : { start, end };
}

/** Keeps no more than ELF header, program headers and the notes. */
async function buildIdOfStream(stream: Readable): Promise<string | undefined> {
  const reader = new Window(stream);
  const elf = await reader.at(0, 64);
  // 64 bit, little endian; e_phoff, e_phentsize, e_phnum.
  if (elf === undefined || elf.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined;
  const [from, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  if (size !== 56 || count > 64 || from < 64 || from > MAX_NOTES) return undefined;
  const headers = await reader.at(from, size * count);
  const notes: { at: number; size: number }[] = [];
  for (let at = 0; headers !== undefined && at < headers.length; at += size) {
    if (headers.readUInt32LE(at) !== PT_NOTE) continue;
    notes.push({ at: Number(headers.readBigUInt64LE(at + 8)), size: Number(headers.readBigUInt64LE(at + 32)) });
  }
  for (const note of notes.sort((a, b) => a.at - b.at)) {
    if (note.size > MAX_NOTES || note.at > MAX_UNPACKED) return undefined;
    const bytes = await reader.at(note.at, note.size);
    const found = bytes === undefined ? undefined : buildIdOfNotes(bytes);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A stream, of which ever later parts are asked for. */
class Window {
  readonly #chunks: AsyncIterator<Buffer>;
  #held = Buffer.alloc(0);
  #from = 0;

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** `undefined` where it ends before, or is past that already. */
  async at(offset: number, size: number): Promise<Buffer | undefined> {
    if (offset < this.#from) return undefined;
    for (;;) {
      const skip = Math.min(offset - this.#from, this.#held.length);
      this.#held = this.#held.subarray(skip);
      this.#from += skip;
      if (this.#from === offset && this.#held.length >= size) return this.#held.subarray(0, size);
      const next = await this.#chunks.next().catch(() => undefined);
      if (next === undefined || next.done === true) return undefined;
      this.#held = Buffer.concat([this.#held, next.value]);
    }
  }
}
