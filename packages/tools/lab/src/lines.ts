import type { Duplex } from 'node:stream';
import type { z } from 'zod';

/** Longest line taken from a channel; the guest agent's largest answer is 16 MiB of output in base64, twice. */
const MAX_LINE = 48 * 1024 * 1024;
/** The guest agent sends this byte, which is never part of valid UTF-8, before the answer to `guest-sync-delimited`. */
const DELIMITER = 0xff;

/**
 * Cuts a byte stream into lines. A delimiter byte (0xff) drops what came before it in the same line: it marks the start
 * of an answer after an unknown rest. A line over the limit is dropped as a whole.
 */
export function createLineReader(onLine: (line: string) => void, limit: number = MAX_LINE): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let size = 0;
  let tooLong = false;
  return (chunk) => {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      let piece = chunk.subarray(start, end === -1 ? undefined : end);
      const delimiter = piece.lastIndexOf(DELIMITER);
      if (delimiter !== -1) {
        piece = piece.subarray(delimiter + 1);
        parts = [];
        size = 0;
        tooLong = false;
      }
      size += piece.length;
      if (size > limit) {
        tooLong = true;
        parts = [];
      } else if (piece.length > 0) parts.push(piece);
      if (end === -1) return;
      const line = Buffer.concat(parts).toString('utf8').trim();
      if (!tooLong && line !== '') onLine(line);
      parts = [];
      size = 0;
      tooLong = false;
      start = end + 1;
    }
  };
}

/** Feeds what arrives on a channel into a reader. */
export function readLines(channel: Duplex, onLine: (line: string) => void): void {
  channel.on('data', createLineReader(onLine));
  // The end of the channel is told by the process it belongs to.
  channel.on('error', () => {});
}

/** One line of JSON, validated; `undefined` when it is not that. */
export function parseLine<T>(line: string, schema: z.ZodType<T>): T | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
