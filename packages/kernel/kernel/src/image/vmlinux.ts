import { gunzipSync } from 'node:zlib';
import { errorText, type Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { isDamage, KernelError } from '../error.ts';

/** Bytes of an unpacked kernel: Debian's have 60 to 100 million. */
const UNPACKED_LIMIT = 256 << 20;

interface Compression {
  readonly name: string;
  readonly magic: readonly number[];
  readonly command?: readonly string[];
}

/** Documentation/x86/boot.rst, `payload_offset`: the formats a bzImage's payload may have, by their magic numbers. */
const compressions: readonly Compression[] = [
  { name: 'gzip', magic: [0x1f, 0x8b] },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a], command: ['xz', '-dc', '--single-stream'] },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], command: ['zstd', '-dcq'] },
  { name: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18], command: ['lz4', '-dcq'] },
  { name: 'lzma', magic: [0x5d, 0x00], command: ['xz', '-dc', '--format=lzma'] },
];

/**
 * The ELF `vmlinux` inside a bzImage (`/boot/vmlinuz-*`). Offsets are those of the x86 boot protocol: setup_sects at
 * 0x1f1, payload_offset at 0x248, payload_length at 0x24c. `image-unsupported` for anything else or damaged.
 */
export async function extractVmlinux(run: Run, image: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 0x250 || view.getUint32(0x202, true) !== 0x53726448) {
    throw new KernelError('image-unsupported', 'the kernel image is not a bzImage: the HdrS magic is missing');
  }
  if (view.getUint16(0x206, true) < 0x208)
    throw new KernelError('image-unsupported', 'the boot protocol is older than 2.08');
  const start = ((image[0x1f1] || 4) + 1) * 512 + view.getUint32(0x248, true);
  const length = view.getUint32(0x24c, true);
  if (start + length > image.length) throw new KernelError('image-unsupported', 'the kernel image is truncated');
  // The last four bytes are the unpacked size, which the build appends for every format but gzip (gzip has its own
  // there).
  const payload = image.subarray(start, start + length);
  const kind = compressions.find(({ magic }) => magic.every((byte, index) => payload[index] === byte));
  if (kind === undefined) {
    const magic = Buffer.from(payload.subarray(0, 6)).toString('hex');
    throw new KernelError('image-unsupported', `the kernel image is packed in an unknown format (it begins ${magic})`, {
      hint: `known are ${compressions.map(({ name }) => name).join(', ')}; of a kernel of one’s own, vmlinux itself can be handed over`,
    });
  }
  const vmlinux = await unpack(run, kind, payload, signal);
  if (vmlinux.length < 64 || vmlinux.readUInt32BE(0) !== 0x7f454c46) {
    throw new KernelError('image-unsupported', `the ${kind.name} payload of the kernel image is not an ELF file`);
  }
  return vmlinux;
}

async function unpack(
  run: Run,
  { name, command }: Compression,
  payload: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const damaged = (cause: unknown): KernelError =>
    new KernelError('image-unsupported', `the ${name} payload of the kernel image is damaged: ${errorText(cause)}`, {
      cause,
      hint: 'fetch or copy it again',
    });
  if (command === undefined) {
    try {
      return gunzipSync(payload, { maxOutputLength: UNPACKED_LIMIT });
    } catch (error) {
      throw damaged(error);
    }
  }
  const [tool = '', ...args] = command;
  return await runOk(run, tool, args, {
    stdin: payload.subarray(0, payload.length - 4),
    maxOutput: UNPACKED_LIMIT,
    timeoutMs: 120_000,
    limits: { memory: 2 ** 30 },
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    throw isDamage(error) ? damaged(error) : error;
  });
}
