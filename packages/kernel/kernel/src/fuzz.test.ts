import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { run, runOk } from '@kmend/base/node';
import { cpuMs, describeFuzz, fuzz, mutateBytes, mutateField, mutateLength, type Random } from '@kmend/base/testing';
import { readElf } from '@kmend/elf';
import { mutateElf } from '@kmend/elf/testing';
import { structLayouts } from './btf.ts';
import { parseConfig } from './config.ts';
import { decodeKallsyms } from './image/kallsyms.ts';
import { KernelMemory } from './image/memory.ts';
import { extractVmlinux } from './image/vmlinux.ts';
import { moduleSymbols } from './modules.ts';
import { parseSymvers } from './symvers.ts';
import { hasCode } from './testing/errors.ts';
import { folder } from './testing/folder.ts';
import { encodeKallsyms, sampleSymbols } from './testing/kallsyms.ts';
import { makeBzImage, makeVmlinux, withSize } from './testing/vmlinux.ts';

const SOURCE = `
struct entry { int address; short line, flags; struct entry *next; union { int a; char b[8]; } u; };
static __attribute__((noinline)) int twice(struct entry *e) { return e->line * 2; }
int global(struct entry *e) { return twice(e) + e->flags; }
`;

function mutated(random: Random, sound: Uint8Array, from = 0, to = sound.length): Buffer {
  const bytes = Buffer.from(sound);
  for (let change = random.below(5); change >= 0; change--) mutateBytes(random, bytes, from, to);
  return random.chance(10) ? mutateLength(random, bytes) : bytes;
}

test('reads mutated symbol tables of every layout or refuses them by code', async (t) => {
  const encodings = (['6.1', '6.12', '7.2'] as const).map((layout) =>
    makeVmlinux(encodeKallsyms(sampleSymbols(layout !== '7.2'), { layout, absolutePercpu: layout !== '7.2' })),
  );
  const outcome = await fuzz({
    name: 'decodeKallsyms',
    cases: 6000,
    make(random) {
      const sound = random.pick(encodings);
      // The tables lie behind the headers and a page of nothing.
      return random.chance(5) ? mutateElf(random, sound) : mutated(random, sound, 0x1000);
    },
    attempt: (bytes) => assert.ok(decodeKallsyms(bytes).length >= 100),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 2000 && outcome.accepted > 100);
});

test('searches an image full of apparent symbol tables in bounded time', () => {
  const sound = encodeKallsyms(sampleSymbols(true), { layout: '6.1', absolutePercpu: true });
  const tokens = sound.lastIndexOf(Buffer.from('x0_\0', 'latin1'));
  const tables = Buffer.concat(Array.from({ length: 16_000 }, () => sound.subarray(tokens)));
  const digits = Buffer.from('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00'.repeat(400_000), 'latin1');
  for (const rodata of [tables, digits]) {
    const started = cpuMs();
    assert.throws(() => decodeKallsyms(makeVmlinux(rodata)), hasCode('kallsyms-not-found'));
    assert.ok(cpuMs() - started < 20_000, `${cpuMs() - started} ms`);
  }
});

test('reads mutated type information or refuses it by code', async (t) => {
  const directory = await folder(t);
  const object = join(directory, 'types.o');
  await runOk(run, 'gcc', ['-g', '-c', '-x', 'c', '-', '-o', object], { stdin: SOURCE });
  await runOk(run, 'pahole', ['-J', object]);
  const file = readElf(await readFile(object));
  const section = file.sections.find(({ name }) => name === '.BTF');
  assert.ok(section !== undefined);
  const names = ['entry', 'absent'];
  assert.equal(structLayouts(file, names).size, 1);
  const outcome = await fuzz({
    name: 'structLayouts',
    cases: 10_000,
    make(random) {
      const bytes = mutated(random, section.data);
      if (random.chance(3)) mutateField(random, bytes, { at: 4 + random.below(5) * 4, width: 4 });
      return bytes;
    },
    attempt: (data) => structLayouts({ ...file, sections: [{ ...section, data, size: data.length }] }, names),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 4000 && outcome.accepted > 500);
});

test('reads symbols and memory of mutated modules and images or refuses them by code', async (t) => {
  const directory = await folder(t);
  const object = join(directory, 'module.o');
  await runOk(run, 'gcc', ['-O2', '-g', '-c', '-x', 'c', '-', '-o', object], { stdin: SOURCE });
  const sound = await readFile(object);
  const outcome = await fuzz({
    name: 'moduleSymbols and KernelMemory',
    cases: 8000,
    make: (random) => mutateElf(random, sound),
    attempt(bytes) {
      const file = readElf(bytes);
      const memory = new KernelMemory(file);
      for (const { address } of moduleSymbols(file)) memory.read(address, 64);
      for (const { address } of file.sections) memory.read(address, 2 ** 31);
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 3000 && outcome.accepted > 300);
});

test('reads the boot header and the payload of mutated kernel images or refuses them by code', async (t) => {
  const vmlinux = makeVmlinux(Buffer.alloc(20_000, 'kernel code and data '), 'ab'.repeat(20));
  const pack = async (tool: string, ...args: string[]): Promise<Buffer> =>
    makeBzImage(withSize(await runOk(run, tool, args, { stdin: vmlinux }), vmlinux.length));
  const gzipped = makeBzImage(gzipSync(vmlinux));
  const header = await fuzz({
    name: 'extractVmlinux, gzip',
    cases: 4000,
    make(random) {
      const bytes = mutated(random, gzipped);
      if (random.chance(2)) mutateField(random, bytes, { at: random.pick([0x1f1, 0x206, 0x248, 0x24c]), width: 4 });
      return bytes;
    },
    attempt: (image) => extractVmlinux(run, image),
  });
  t.diagnostic(describeFuzz(header));
  assert.ok(header.cases >= 300 && header.accepted > 50);
  const packed = await Promise.all([
    pack('xz', '--check=crc32', '--x86', '--lzma2=dict=1MiB', '-c'),
    pack('zstd', '-q', '-c', '-19'),
    pack('lz4', '-l', '-9', '-c'),
    pack('xz', '--format=lzma', '-9', '-c'),
  ]);
  const payload = await fuzz({
    name: 'extractVmlinux, with tools',
    cases: 400,
    budgetMs: 5000,
    make: (random) => mutated(random, random.pick(packed), 2048, 2600),
    attempt: (image) => extractVmlinux(run, image),
    caseMs: 5000,
  });
  t.diagnostic(describeFuzz(payload));
  assert.ok(payload.cases >= 20);
});

test('gives up payloads that unpack to far more than a kernel', async (t) => {
  const directory = await folder(t);
  const zeros = join(directory, 'zeros');
  await writeFile(zeros, '');
  await runOk(run, 'truncate', ['--size=1G', zeros]);
  const member = gzipSync(Buffer.alloc(1 << 20));
  const bombs = [
    await runOk(run, 'zstd', ['-q', '-1', '-c', zeros]),
    // The same gzip member again and again.
    Buffer.concat(Array.from({ length: 1024 }, () => member)),
  ];
  for (const bomb of bombs) {
    assert.ok(bomb.length < 2 << 20);
    await assert.rejects(extractVmlinux(run, makeBzImage(withSize(bomb, 0))), hasCode('image-unsupported'));
  }
});

test('reads mutated text files of the headers package or refuses them by code', async (t) => {
  const symvers = Buffer.from(
    '0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0x9abcdef0\tx\tnet/a-b\tEXPORT_SYMBOL_GPL\tNS\n'.repeat(20),
  );
  const config = Buffer.from('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="a \\"b\\" c"\nCONFIG_D=0x10\n'.repeat(20));
  const outcome = await fuzz({
    name: 'parseSymvers and parseConfig',
    cases: 6000,
    make: (random) => [mutated(random, symvers).toString('utf8'), mutated(random, config).toString('utf8')] as const,
    attempt([exports, options]) {
      parseConfig(options);
      parseSymvers(exports);
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 2000 && outcome.accepted > 100);
  // A line without an end.
  const long = 'x'.repeat(20_000_000);
  assert.equal(parseConfig(`CONFIG_A=${long}`).size, 1);
  assert.throws(() => parseSymvers(`0x12345678\t${long}`), hasCode('symvers-garbage'));
});
