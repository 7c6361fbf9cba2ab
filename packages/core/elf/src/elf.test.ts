import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { errorCode } from '@kmend/base';
import {
  buildId,
  type ElfFile,
  ET_REL,
  R_X86_64_PC32,
  readElf,
  SHF_LINK_ORDER,
  SHN_LIVEPATCH,
  STB_GLOBAL,
  sectionOf,
  writeElf,
} from './index.ts';

const directory = mkdtempSync(join(tmpdir(), 'kmend-elf-'));
after(() => rmSync(directory, { recursive: true }));

const source = `
extern int other(const char *);
static int counter;
int zeroed[100];
const char *const names[] = { "one", "two" };
static int __attribute__((noinline)) twice(int x) { return x * 2 + other(names[x & 1]); }
int entry(int x) { counter += x; switch (x) { case 1: return twice(3); case 2: return other("two"); default: return counter; } }
asm(".section .linked,\\"ao\\",@progbits,.text.entry; .quad entry; .previous");
`;

function compile(...flags: string[]): Uint8Array {
  const input = join(directory, 'a.c');
  const output = join(directory, 'a.o');
  writeFileSync(input, source);
  execFileSync('gcc', ['-O2', '-c', '-ffunction-sections', '-fdata-sections', ...flags, input, '-o', output]);
  return readFileSync(output);
}

const object = compile();

/** What a file says, without indexes and order of symbols: for comparing a file with its copy. */
function meaning(file: ElfFile): unknown {
  const text = (symbol: ElfFile['symbols'][number]): string =>
    [symbol.name, symbol.value, symbol.size, symbol.bind, symbol.type, sectionOf(symbol)?.name ?? symbol.place].join(
      ' ',
    );
  return {
    sections: file.sections.map((section) => ({
      name: section.name,
      flags: section.flags,
      size: section.size,
      align: section.align,
      data: Buffer.from(section.data).toString('hex'),
      linkedTo: section.linkedTo?.name,
      relocations: section.relocations.map((item) => [item.offset, item.type, text(item.symbol), item.addend]),
    })),
    symbols: file.symbols.map(text).sort(),
  };
}

test('finds sections, symbols and relocations of a compiled object', () => {
  const file = readElf(object);
  assert.equal(file.type, ET_REL);
  const entry = file.symbols.find((symbol) => symbol.name === 'entry');
  assert.ok(entry !== undefined);
  assert.equal(sectionOf(entry)?.name, '.text.entry');
  assert.equal(entry.bind, STB_GLOBAL);
  const names = sectionOf(entry)?.relocations.map((relocation) => relocation.symbol.name);
  assert.ok(names?.includes('other'), String(names));
  assert.equal(file.sections.find((section) => section.name === '.bss.zeroed')?.size, 400);
  const linked = file.sections.find((section) => section.name === '.linked');
  assert.ok(linked !== undefined && (linked.flags & SHF_LINK_ORDER) !== 0);
  assert.equal(linked.linkedTo?.name, '.text.entry');
});

test('writes a stable copy that links into a running program', () => {
  const copy = writeElf(readElf(object));
  assert.deepEqual(meaning(readElf(copy)), meaning(readElf(object)));
  assert.deepEqual(writeElf(readElf(copy)), copy);
  const path = join(directory, 'copy.o');
  writeFileSync(path, copy);
  execFileSync('readelf', ['--all', '--wide', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  writeFileSync(
    join(directory, 'main.c'),
    'int entry(int); int other(const char *s) { return s[0]; } int main() { return entry(1) == 6 + 116 ? 0 : 1; }',
  );
  execFileSync('gcc', [join(directory, 'main.c'), path, '-o', join(directory, 'main')]);
  execFileSync(join(directory, 'main'));
});

test('keeps livepatch symbols and relocation tables when an object is read and written again', () => {
  const file = readElf(object);
  const target = file.sections.find((section) => section.name === '.text.entry');
  assert.ok(target !== undefined);
  const symbol = {
    name: '.klp.sym.vmlinux.foo,2',
    value: 0n,
    size: 0,
    bind: STB_GLOBAL,
    type: 0,
    other: 0,
    place: SHN_LIVEPATCH,
  };
  file.symbols.push(symbol);
  file.livepatchRelocations.push({
    name: '.klp.rela.vmlinux..text.entry',
    target,
    relocations: [{ offset: 1, type: R_X86_64_PC32, symbol, addend: -4n }],
  });
  const again = readElf(writeElf(file));
  assert.equal(again.livepatchRelocations.length, 1);
  assert.equal(again.livepatchRelocations[0]?.target.name, '.text.entry');
  assert.equal(again.livepatchRelocations[0]?.relocations[0]?.symbol.place, SHN_LIVEPATCH);
});

test('reads the build id of a linked file', () => {
  const path = join(directory, 'prog');
  execFileSync('gcc', ['-x', 'c', '-', '-o', path, '-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567'], {
    input: 'int main(){return 0;}',
  });
  assert.equal(buildId(readElf(readFileSync(path))), '0123456789abcdef0123456789abcdef01234567');
});

test('refuses a file that is no ELF object with a code', () => {
  const code = (bytes: Uint8Array): string | undefined => {
    try {
      readElf(bytes);
      return undefined;
    } catch (error) {
      return errorCode(error);
    }
  };
  assert.equal(code(new Uint8Array(0)), 'elf-not-elf');
  assert.equal(code(Buffer.from('#!/bin/sh and so on')), 'elf-not-elf');
  assert.equal(code(object.subarray(0, 40)), 'elf-truncated');
  assert.equal(code(object.subarray(0, object.length - 100)), 'elf-truncated');
  const arm = Buffer.from(object);
  arm.writeUInt16LE(183, 18);
  assert.equal(code(arm), 'elf-unsupported');
});
