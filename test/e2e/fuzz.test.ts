import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { errorCode } from '@kmend/base';
import { limitedRun } from '@kmend/base/node';
import { describeFuzz, fuzz, mutateBytes, mutateField, mutateLength } from '@kmend/base/testing';
import { type ElfFile, readElf, writeElf } from '@kmend/elf';
import { mutateElf } from '@kmend/elf/testing';
import { KERNEL, openWorkshop, SUITE } from '@kmend/harness';
import { decodeKallsyms, extractVmlinux, type Kernel, moduleFiles, moduleSymbols, structLayouts } from '@kmend/kernel';

/** Real files of a stock kernel, mutated. How many cases fit into the time is in the diagnostics. */
const BUDGET_MS = 12_000;
let kernel: Kernel;
let vmlinux: Buffer;

before(async () => {
  kernel = await openWorkshop(new AbortController().signal).kernels.add(`${SUITE}/${KERNEL}`);
  vmlinux = await readFile(kernel.paths.vmlinux);
});

test('reads mutated real modules or refuses them by code', async (t) => {
  const paths = [...(await moduleFiles(kernel)).values()].sort();
  const modules: Buffer[] = [];
  for (let index = 0; modules.length < 60; index += 37) {
    const bytes = await readFile(paths[index % paths.length] ?? '');
    if (bytes.length < 150_000) modules.push(bytes);
  }
  const outcome = await fuzz({
    name: 'readElf, moduleSymbols and writeElf on modules',
    cases: 8000,
    budgetMs: BUDGET_MS,
    make: (random) => mutateElf(random, random.pick(modules)),
    attempt(bytes) {
      const file = readElf(bytes);
      moduleSymbols(file);
      const written = writeElf(file);
      assert.deepEqual(Buffer.from(writeElf(readElf(written))), Buffer.from(written));
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 500 && outcome.accepted > 50);
});

test('reads the mutated headers of the real vmlinux or refuses them by code', async (t) => {
  // Only what lies outside the segments is looked at: a copy of the rest a case would be 60 MB.
  const headersAt = Number(vmlinux.readBigUInt64LE(40));
  const tail = Buffer.from(vmlinux.subarray(headersAt - 0x1b0));
  const head = Buffer.from(vmlinux.subarray(0, 4096));
  const outcome = await fuzz({
    name: 'readElf on vmlinux',
    cases: 2000,
    budgetMs: BUDGET_MS,
    make(random) {
      head.copy(vmlinux);
      tail.copy(vmlinux, headersAt - 0x1b0);
      for (let change = random.below(3); change >= 0; change--) {
        const at = random.chance(4) ? random.below(64) : headersAt + random.below(vmlinux.length - headersAt);
        mutateField(random, vmlinux, { at, width: random.pick([1, 2, 4, 8]) });
      }
      return vmlinux;
    },
    attempt: readElf,
  });
  head.copy(vmlinux);
  tail.copy(vmlinux, headersAt - 0x1b0);
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 100 && outcome.accepted > 10);
});

const DIGITS = Buffer.from('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00', 'latin1');

/** The symbol tables of vmlinux alone, behind its header: the search need not go through the rest. */
function tablesOf(image: Buffer, symbols: unknown): Buffer {
  const header = Buffer.from(image.subarray(0, 64));
  header.writeBigUInt64LE(0n, 40);
  header.writeUInt16LE(0, 56);
  for (let digits = image.indexOf(DIGITS); digits !== -1; digits = image.indexOf(DIGITS, digits + 1)) {
    // Less than 2.5 MiB of offsets, names, markers and sequence numbers lie in front of the tokens.
    const start = Math.max(0, Math.floor((digits - (5 << 19)) / 8) * 8);
    const tables = Buffer.concat([header, image.subarray(start, digits + 8192)]);
    try {
      if (isDeepStrictEqual(decodeKallsyms(tables), symbols)) return tables;
    } catch (error) {
      assert.equal(errorCode(error), 'kallsyms-not-found');
    }
  }
  return assert.fail('the tables are not found');
}

test('reads the mutated real symbol tables or refuses them by code', async (t) => {
  const tables = tablesOf(vmlinux, decodeKallsyms(vmlinux));
  const outcome = await fuzz({
    name: 'decodeKallsyms',
    cases: 3000,
    budgetMs: BUDGET_MS * 2,
    caseMs: 20_000,
    make(random) {
      const bytes = Buffer.from(tables);
      for (let change = random.below(3); change >= 0; change--) mutateBytes(random, bytes, 64);
      return random.chance(8) ? mutateLength(random, bytes) : bytes;
    },
    attempt: decodeKallsyms,
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 20);
});

test('reads the mutated real type information or refuses it by code', async (t) => {
  const section = readElf(vmlinux).sections.find(({ name }) => name === '.BTF');
  assert.ok(section !== undefined);
  const outcome = await fuzz({
    name: 'structLayouts',
    cases: 1000,
    budgetMs: BUDGET_MS,
    make(random) {
      const data = Buffer.from(section.data);
      for (let change = random.below(4); change >= 0; change--) mutateBytes(random, data);
      if (random.chance(3)) mutateField(random, data, { at: 4 + random.below(5) * 4, width: 4 });
      return { type: 2, sections: [{ ...section, data }], symbols: [], livepatchRelocations: [], segments: [] };
    },
    attempt: (file: ElfFile) => structLayouts(file, ['bug_entry', 'alt_instr', 'exception_table_entry']),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 50);
});

test('reads the mutated real vmlinuz or refuses it by code', async (t) => {
  const image = await readFile(kernel.paths.vmlinuz);
  // With the beginning of its payload alone: what unpacks to the end takes seconds.
  const setup = ((image[0x1f1] ?? 0) + 1) * 512 + image.readUInt32LE(0x248);
  const begun = Buffer.from(image.subarray(0, setup + 50_000));
  begun.writeUInt32LE(40_000, 0x24c);
  const outcome = await fuzz({
    name: 'extractVmlinux',
    // Each starts programs, whose time is not this process's.
    cases: 300,
    budgetMs: BUDGET_MS,
    caseMs: 60_000,
    caseBytes: 1 << 30,
    make(random) {
      const bytes = Buffer.from(begun);
      const at = random.pick([0x1f1, 0x202, 0x206, 0x248, 0x24c]);
      mutateField(random, bytes, { at, width: random.pick([1, 2, 4]) });
      if (random.chance(3)) mutateBytes(random, bytes, setup, setup + 4096);
      return random.chance(10) ? mutateLength(random, bytes) : bytes;
    },
    attempt: (bytes) => extractVmlinux(limitedRun, bytes),
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 100 && outcome.accepted === 0);
  const damaged = Buffer.from(image).fill(0x55, 2_000_000, 2_000_400);
  await assert.rejects(extractVmlinux(limitedRun, damaged), { code: 'image-unsupported' });
});
