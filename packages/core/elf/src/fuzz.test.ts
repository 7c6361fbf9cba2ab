import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { cpuMs, describeFuzz, fuzz, mutateBytes, mutateLength } from '@kmend/base/testing';
import {
  buildId,
  ET_REL,
  readElf,
  readNotes,
  SHT_PROGBITS,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  writeElf,
} from './index.ts';
import { mutateElf } from './testing/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'kmend-elf-fuzz-'));
after(() => rmSync(directory, { recursive: true }));

const SOURCE = `
int other(const char *);
static int counter;
int zeroed[100];
const char *const names[] = { "one", "two" };
static int __attribute__((noinline)) twice(int x) { return x * 2 + other(names[x & 1]); }
int entry(int x) { counter += x; return x == 1 ? twice(3) : other("two"); }
int main(void) { return entry(2); }
`;

function compile(...flags: string[]): Buffer {
  const output = join(directory, 'out');
  execFileSync('gcc', ['-O2', '-g', '-x', 'c', '-', '-o', output, ...flags], { input: SOURCE });
  return readFileSync(output);
}

const object = compile('-c', '-ffunction-sections', '-fdata-sections');
const program = compile('-Dother=puts', '-Wl,--build-id=sha1', '-w');

test('reads a mutated object or refuses it by code, and reads again what it writes', async (t) => {
  const outcome = await fuzz({
    name: 'readElf and writeElf',
    cases: 20_000,
    make: (random) => mutateElf(random, object),
    attempt(bytes) {
      const file = readElf(bytes);
      if (file.type !== ET_REL) return;
      const written = writeElf(file);
      assert.ok(written.length < 64 << 20, `${written.length} bytes were written`);
      assert.deepEqual(Buffer.from(writeElf(readElf(written))), Buffer.from(written));
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 4000 && outcome.accepted > 500);
  for (const code of outcome.refused.keys()) assert.match(code, /^elf-/);
});

test('reads mutated linked files and their notes or refuses them by code', async (t) => {
  const outcome = await fuzz({
    name: 'readElf and buildId',
    cases: 10_000,
    make: (random) => mutateElf(random, program),
    attempt: (bytes) => buildId(readElf(bytes)),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 4000 && outcome.accepted > 500);
});

/** The object with another section header table: `headers` behind its own ones, which are kept. */
function withMoreSections(sound: Buffer, headers: readonly Buffer[], data: Uint8Array): Buffer {
  const bytes = Buffer.from(sound);
  const from = Number(bytes.readBigUInt64LE(40));
  const own = bytes.subarray(from, from + bytes.readUInt16LE(60) * 64);
  bytes.writeBigUInt64LE(BigInt(bytes.length + data.length), 40);
  bytes.writeUInt16LE(bytes.readUInt16LE(60) + headers.length, 60);
  return Buffer.concat([bytes, data, own, ...headers]);
}

interface Header {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link?: number;
  readonly info?: number;
}

function headerOf({ type, offset, size, link = 0, info = 0 }: Header): Buffer {
  const header = Buffer.alloc(64);
  header.writeUInt32LE(type, 4);
  header.writeBigUInt64LE(BigInt(offset), 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeUInt32LE(link, 40);
  header.writeUInt32LE(info, 44);
  return header;
}

test('does not multiply a large part of the file that many sections share', () => {
  const data = Buffer.alloc(24 * 20_000);
  const index = (type: number): number =>
    Array.from({ length: object.readUInt16LE(60) }).findIndex(
      (_, at) => object.readUInt32LE(Number(object.readBigUInt64LE(40)) + at * 64 + 4) === type,
    );
  const first = object.readUInt16LE(60);
  // Each has 20,000 entries for the one in front of it.
  const headers = Array.from({ length: 5000 }, (_, at) =>
    headerOf({
      type: at === 0 ? SHT_PROGBITS : SHT_RELA,
      offset: object.length,
      size: data.length,
      link: index(SHT_SYMTAB),
      info: first + at - 1,
    }),
  );
  const started = cpuMs();
  assert.throws(() => readElf(withMoreSections(object, headers, data)), /sections overlap/);
  assert.ok(cpuMs() - started < 1000);
});

test('does not multiply a long end that many names share', () => {
  const strings = Buffer.alloc(200_000, 'x');
  strings[strings.length - 1] = 0;
  const symbols = Buffer.alloc(24 * 50_000);
  for (let symbol = 1; symbol < 50_000; symbol++) symbols.writeUInt32LE(symbol, symbol * 24);
  const bytes = Buffer.from(object);
  const from = Number(bytes.readBigUInt64LE(40));
  const all = Array.from({ length: bytes.readUInt16LE(60) }, (_, at) => from + at * 64);
  const table = all.find((at) => bytes.readUInt32LE(at + 4) === SHT_SYMTAB);
  assert.ok(table !== undefined);
  bytes.writeUInt32LE(bytes.readUInt16LE(60), table + 40);
  bytes.writeBigUInt64LE(BigInt(bytes.length), table + 24);
  bytes.writeBigUInt64LE(BigInt(symbols.length), table + 32);
  for (const at of all) if (bytes.readUInt32LE(at + 4) === SHT_RELA) bytes.writeUInt32LE(SHT_PROGBITS, at + 4);
  const broken = withMoreSections(
    bytes,
    [headerOf({ type: SHT_STRTAB, offset: bytes.length + symbols.length, size: strings.length })],
    Buffer.concat([symbols, strings]),
  );
  const started = cpuMs();
  assert.throws(() => readElf(broken), /overlap too much/);
  assert.ok(cpuMs() - started < 1000);
});

test('reads mutated notes or refuses them by code', async (t) => {
  const section = readElf(program).sections.find(({ name }) => name === '.note.gnu.build-id');
  assert.ok(section !== undefined);
  const sound = Buffer.concat([section.data, section.data, section.data]);
  const outcome = await fuzz({
    name: 'readNotes',
    cases: 10_000,
    make(random) {
      const bytes = Buffer.from(sound);
      for (let change = random.below(4); change >= 0; change--) mutateBytes(random, bytes);
      return random.chance(5) ? mutateLength(random, bytes) : bytes;
    },
    attempt: (bytes) => assert.ok(readNotes(bytes).length <= bytes.length / 12),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.equal(outcome.accepted, outcome.cases);
});
