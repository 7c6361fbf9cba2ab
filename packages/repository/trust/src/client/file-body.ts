import type { FileHandle } from 'node:fs/promises';

const CHUNK = 65_536;

/** A part of a file, chunk by chunk; it ends early where the file does. */
export async function* fileChunks(
  file: FileHandle,
  from: number,
  length: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const end = from + length;
  for (let position = from; position < end; ) {
    const size = Math.min(CHUNK, end - position);
    const { bytesRead, buffer } = await file.read(new Uint8Array(size), 0, size, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Answers with a part of an open file and closes it at the end, whichever that is. */
export function fileResponse(file: FileHandle, from = 0, length = Number.MAX_SAFE_INTEGER): Response {
  const rest = fileChunks(file, from, length);
  return new Response(
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const next = await rest.next().catch(async (error: unknown) => {
          await file.close();
          throw error;
        });
        if (!next.done) return controller.enqueue(next.value);
        await file.close();
        controller.close();
      },
      async cancel() {
        await file.close();
      },
    }),
  );
}
