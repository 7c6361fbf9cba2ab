import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { run, runOk } from '@kmend/base/node';
import { hasCode } from '../testing/errors.ts';
import { makeBzImage, makeVmlinux, withSize } from '../testing/vmlinux.ts';
import { extractVmlinux } from './vmlinux.ts';

const vmlinux = makeVmlinux(Buffer.alloc(300_000, 'kernel code and data '), 'ab'.repeat(20));

/** The commands of the kernel's scripts/Makefile.lib. */
const packers: Readonly<Record<string, readonly [tool: string, ...args: string[]]>> = {
  xz: ['xz', '--check=crc32', '--x86', '--lzma2=dict=1MiB', '-c'],
  zstd: ['zstd', '-q', '-c', '-19'],
  lz4: ['lz4', '-l', '-9', '-c'],
  lzma: ['xz', '--format=lzma', '-9', '-c'],
};

async function pack(kind: string): Promise<Buffer> {
  if (kind === 'gzip') return gzipSync(vmlinux);
  const [tool = '', ...args] = packers[kind] ?? [];
  return withSize(await runOk(run, tool, args, { stdin: vmlinux }), vmlinux.length);
}

for (const kind of ['gzip', ...Object.keys(packers)]) {
  test(`unpacks a bzImage packed with ${kind}`, async () => {
    const payload = await pack(kind);
    const image = makeBzImage(payload);
    assert.ok(vmlinux.equals(await extractVmlinux(run, image)));

    const half = makeBzImage(payload.subarray(0, payload.length / 2));
    await assert.rejects(extractVmlinux(run, half), hasCode('image-unsupported'), 'a payload cut in half');
    const other = makeBzImage(payload.fill(0x55, 40, 200));
    await assert.rejects(extractVmlinux(run, other), hasCode('image-unsupported'), 'a payload changed inside');
  });
}

test('refuses a payload that is not ELF, or packed in an unknown way', async () => {
  await assert.rejects(extractVmlinux(run, makeBzImage(gzipSync(Buffer.alloc(5000)))), hasCode('image-unsupported'));
  await assert.rejects(extractVmlinux(run, makeBzImage(Buffer.from('BZh91AY'))), hasCode('image-unsupported'));
  await assert.rejects(extractVmlinux(run, makeBzImage(Buffer.alloc(0))), hasCode('image-unsupported'));
});

test('refuses empty, text, truncated and too old input as no bzImage', async () => {
  const image = makeBzImage(gzipSync(vmlinux));
  const old = Buffer.from(image);
  old.writeUInt16LE(0x207, 0x206);
  const outside = Buffer.from(image);
  outside.writeUInt32LE(0xffff_fff0, 0x24c);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(10_000, 'text '),
    image.subarray(0, 0x248),
    image.subarray(0, image.length - 2000),
    old,
    outside,
  ]) {
    await assert.rejects(extractVmlinux(run, bytes), hasCode('image-unsupported'));
  }
});

test('names a missing tool, and does not report a damaged image', async () => {
  const missing = (): never => {
    throw Object.assign(new Error('zstd is not installed'), { code: 'tool-missing' });
  };
  await assert.rejects(
    extractVmlinux(async () => missing(), makeBzImage(await pack('zstd'))),
    /not installed/,
  );
});
