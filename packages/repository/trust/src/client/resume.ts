import type { FileHandle } from 'node:fs/promises';
import type { PartialDownload } from './partial.ts';
import { statusFailure } from './status.ts';
import { type Answer, get, type TransferEdges, tooLarge } from './transfer.ts';

export interface ResumableDownload {
  readonly url: string;
  /** Signed length of the file, in bytes. */
  readonly length: number;
  readonly partial: PartialDownload;
  readonly signal: AbortSignal;
}

/**
 * Brings a partial download to its signed length: asks for the rest where there is a beginning (RFC 9110, section 14),
 * with `If-Range` where the same address gave a strong ETag. A server that sends the whole file, or any other range,
 * starts it again. The bytes are not verified here.
 */
export async function resumeDownload(edges: TransferEdges, download: ResumableDownload): Promise<void> {
  const { url, length, partial, signal } = download;
  const size = await partial.size();
  // It broke off between the last byte and the verification.
  if (size === length) return;
  if (size > 0 && size < length) {
    const answer = await get(edges, url, length, signal, await rangeHeaders(download, size));
    if (answer.status === 206 && isRest(answer, size, length))
      return write(answer, await partial.append(), size, download);
    if (answer.status === 200) return begin(answer, download);
    await answer.discard();
    // 416, or a range that was not requested: the partial file is not of this file.
    if (answer.status !== 206 && answer.status !== 416) throw statusFailure(url, answer.status);
  }
  const answer = await get(edges, url, length, signal);
  if (answer.status === 200) return begin(answer, download);
  await answer.discard();
  throw statusFailure(url, answer.status);
}

async function rangeHeaders({ url, partial }: ResumableDownload, size: number): Promise<Record<string, string>> {
  const source = await partial.source();
  // A weak ETag may not be used here (RFC 9110, section 13.1.5), and one of another mirror means nothing; the hash of
  // the whole decides in the end.
  const strong = source?.url === url && source.etag?.startsWith('"') === true ? source.etag : undefined;
  return { range: `bytes=${size}-`, ...(strong === undefined ? {} : { 'if-range': strong }) };
}

/** Whether an answer holds just the bytes from `size` to the end of a file of that length. */
function isRest({ contentRange }: Answer, size: number, length: number): boolean {
  const [, first, last, whole] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? '') ?? [];
  return Number(first) === size && Number(last) === length - 1 && (whole === '*' || Number(whole) === length);
}

async function begin(answer: Answer, download: ResumableDownload): Promise<void> {
  const { url, partial } = download;
  const { etag } = answer;
  return write(answer, await partial.begin({ url, ...(etag === undefined ? {} : { etag }) }), 0, download);
}

async function write(
  answer: Answer,
  file: FileHandle,
  from: number,
  { url, length }: ResumableDownload,
): Promise<void> {
  let position = from;
  try {
    for await (const chunk of answer.body) {
      position += chunk.length;
      if (position > length) throw tooLarge(url, length);
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
    await answer.discard();
  }
}
