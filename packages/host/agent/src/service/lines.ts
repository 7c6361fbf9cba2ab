import type { Readable } from 'node:stream';

/**
 * Lines of a stream that is not trusted, without their ends; the last one needs none. Throws beyond `limit` bytes in
 * all.
 */
export async function* boundedLines(stream: Readable, limit: number): AsyncGenerator<string, void> {
  let size = 0;
  let rest = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new Error(`more than ${limit} bytes came`);
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield rest.subarray(0, end).toString('utf8');
      rest = rest.subarray(end + 1);
    }
  }
  if (rest.length > 0) yield rest.toString('utf8');
}
