import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { kernelNotes } from '@kmend/rules/testing';
import { BUILD_ID, TestKernel } from '../testing/kernel.ts';
import { buildIdOfImage } from './image.ts';
import { byVersion, findPending } from './pending.ts';

/** A 64-bit ELF with its notes far into it. */
function vmlinux(buildId: string): Buffer {
  const note = kernelNotes(buildId);
  const at = 3_000_000;
  const elf = Buffer.alloc(at + note.length + 1_000_000, 7);
  elf.fill(0, 0, 64 + 56);
  elf.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(4, 64);
  elf.writeBigUInt64LE(BigInt(at), 64 + 8);
  elf.writeBigUInt64LE(BigInt(note.length), 64 + 32);
  note.copy(elf, at);
  return elf;
}

/** As arch/x86/boot makes it: a setup of two sectors, the payload somewhere behind it, its unpacked size at its end. */
function bzImage(payload: Buffer): Buffer {
  const image = Buffer.alloc(3 * 512 + 100 + payload.length + 4 + 500);
  image[0x1f1] = 2;
  image.write('HdrS', 0x202);
  image.writeUInt32LE(100, 0x248);
  image.writeUInt32LE(payload.length + 4, 0x24c);
  payload.copy(image, 3 * 512 + 100);
  return image;
}

const packings: Record<string, (elf: Buffer) => Buffer> = {
  gzip: (elf) => gzipSync(elf),
  zstd: (elf) => zstdCompressSync(elf),
  xz: (elf) =>
    execFileSync('xz', ['-c', '--check=crc32', '--x86', '--lzma2=dict=1MiB'], { input: elf, maxBuffer: 2 ** 26 }),
};

test('reads the build id of an image in every compression, and none of a damaged one', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const other = 'cd'.repeat(20);
  const path = kernel.path('/boot/vmlinuz');
  for (const [name, pack] of Object.entries(packings)) {
    const image = bzImage(pack(vmlinux(other)));
    await kernel.write('/boot/vmlinuz', image);
    assert.equal(await buildIdOfImage(path), other, name);
    // Cut short, and with other bytes in it.
    await kernel.write('/boot/vmlinuz', image.subarray(0, image.length - 600));
    assert.equal(await buildIdOfImage(path), undefined, name);
    await kernel.write('/boot/vmlinuz', Buffer.from(image).fill(0, 3 * 512 + 110, 3 * 512 + 200));
    assert.notEqual(await buildIdOfImage(path).catch(() => undefined), other, name);
  }
  await kernel.write('/boot/vmlinuz', 'not an image');
  assert.equal(await buildIdOfImage(path), undefined);
});

test('finds the kernel of the next boot: a newer release or another build, or nothing', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const edges = kernel.edges();
  const other = 'cd'.repeat(20);
  const add = async (release: string, buildId: string): Promise<void> => {
    await kernel.write(`/boot/vmlinuz-${release}`, bzImage(gzipSync(vmlinux(buildId))));
    await kernel.write(`/lib/modules/${release}/modules.dep`, '');
  };
  assert.equal(await findPending(edges, BUILD_ID, null), null);
  await add('6.1.0-47-amd64', BUILD_ID);
  await add('6.1.0-9-amd64', other);
  assert.equal(await findPending(edges, BUILD_ID, null), null, 'the one that runs, and an older one');
  // Debian's upload without a change of ABI.
  await add('6.1.0-47-amd64', other);
  const rebuilt = await findPending(edges, BUILD_ID, null);
  assert.deepEqual([rebuilt?.release, rebuilt?.buildId], ['6.1.0-47-amd64', other]);
  await kernel.write('/boot/vmlinuz-6.1.0-50-amd64', 'removed, its modules are gone');
  assert.equal((await findPending(edges, BUILD_ID, null))?.release, '6.1.0-47-amd64');
  await kernel.write('/boot/vmlinuz-6.1.0-48-amd64', 'packed in an unknown way');
  await kernel.write('/lib/modules/6.1.0-48-amd64/modules.dep', '');
  const newer = await findPending(edges, BUILD_ID, rebuilt);
  assert.deepEqual([newer?.release, newer?.buildId], ['6.1.0-48-amd64', null]);
});

test('orders releases as a boot loader does', () => {
  const sorted = ['5.10.0-28-amd64', '6.1.0-9-amd64', '6.1.0-47-amd64', '6.1.0-47-cloud-amd64', '6.12.9+bpo-amd64'];
  const shuffled = sorted.toReversed();
  assert.deepEqual(
    shuffled.sort((a, b) => byVersion(a, b, '6.1.0-47-cloud-amd64')),
    sorted,
  );
});
