import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { describeFuzz, fuzz, type Random } from '@kmend/base/testing';
import { readElf, writeElf } from '@kmend/elf';
import { mutateElf } from '@kmend/elf/testing';
import type { StructLayout } from '@kmend/kernel';
import { moduleImage } from './byte-proof/image.ts';
import { proveUnit } from './byte-proof/prove.ts';
import { compareUnit } from './compare/compare.ts';
import { compareTypes } from './compare/types.ts';
import { readDwarf } from './dwarf/index.ts';
import { emit } from './extract/emit.ts';
import { select } from './extract/extract.ts';
import { convertModule, nameReferences } from './link/klp.ts';
import { ObjectView } from './object/view.ts';
import type { Resolution } from './types.ts';

const directory = mkdtempSync(join(tmpdir(), 'kmend-builder-fuzz-'));
after(() => rmSync(directory, { recursive: true }));

/**
 * Functions, strings, constants, static locals, a bug table, replacement instructions, and a tail behind a relative
 * field.
 */
const BEFORE = `
int printk(const char *, ...); int shared; static int hidden; static int flags[4]; extern int (*hook)(int);
#define WARN() asm volatile("1: ud2\\n.pushsection __bug_table,\\"aw\\"\\n2: .long 1b - 2b, 0\\n.word 42, 0\\n.popsection")
#define ALT() asm volatile("661: nop; nop; nop\\n662:\\n.pushsection .altinstructions,\\"a\\"\\n.long 661b - ., 664f - .\\n.word 1\\n.byte 3, 3\\n.popsection\\n.pushsection .altinstr_replacement,\\"ax\\"\\n664: nop\\n.popsection")
static __attribute__((noinline)) int helper(int a) { static int calls; WARN(); return a + hidden++ + calls++; }
__attribute__((noinline)) int changed(int a) { shared += a; ALT(); hook = changed; printk("first %d", a); flags[a & 3] = 7; return helper(a); }
double scale(double x) { return x * 1.5; }
int choose(int a) { switch (a) { case 0: return shared; case 1: return helper(2); case 2: return changed(3); case 3: return 9; case 4: return printk("x"); default: return 0; } }
int other(int a) { WARN(); printk("second"); return changed(a); }
`;
const AFTER = BEFORE.replace('shared += a', 'shared -= a')
  .replace('int other', 'static int fresh = 3; int other')
  .replace('printk("second")', 'printk("second %d", fresh++)');

const layouts: ReadonlyMap<string, StructLayout> = new Map([
  ['bug_entry', { size: 12, members: new Map() }],
  ['alt_instr', { size: 12, members: new Map() }],
]);
const unit = { source: 'a/unit.c', object: 'vmlinux' };

const objects = new Map<string, Buffer>();
before(async () => {
  const flags =
    '-O2 -g -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -pg -mfentry -mrecord-mcount -fno-asynchronous-unwind-tables -w';
  for (const [name, text, more] of [
    ['before', BEFORE, '-ffunction-sections -fdata-sections'],
    ['after', AFTER, '-ffunction-sections -fdata-sections'],
    ['plain', BEFORE, '-fno-function-sections'],
  ] as const) {
    const path = join(directory, `${name}.o`);
    await runOk(run, 'gcc', [...flags.split(' '), ...more.split(' '), '-c', '-x', 'c', '-', '-o', path], {
      stdin: text,
    });
    objects.set(name, await readFile(path));
  }
});

function sound(name: string): Buffer {
  return objects.get(name) ?? assert.fail(name);
}

function view(bytes: Uint8Array): ObjectView {
  return new ObjectView(readElf(bytes), layouts);
}

test('accepts the unmutated livepatch: a change with its table entries', () => {
  const patched = view(sound('after'));
  const change = compareUnit(unit, view(sound('before')), patched);
  assert.deepEqual([...change.changed.keys()].map(({ symbol }) => symbol?.name).sort(), ['changed', 'other']);
  const selection = select(patched, change);
  assert.ok(selection.entries.some(({ section }) => section.name === '.altinstructions'));
  assert.ok(selection.entries.some(({ section }) => section.name === '__bug_table'));
  writeElf(emit(patched, change, selection, 'alias_').file);
  for (const name of ['before', 'plain']) {
    const proof = proveUnit({ ...unit, object: 'mod' }, view(sound(name)), moduleImage('mod', readElf(sound(name))));
    assert.deepEqual([proof.equal.length >= 5, proof.different], [true, []]);
  }
});

test('compares and extracts mutated objects or refuses them by code', async (t) => {
  const outcome = await fuzz({
    name: 'ObjectView, compareUnit, select and emit',
    cases: 6000,
    make: (random) => {
      const one = mutateElf(random, sound('after'));
      return random.chance(2) ? [sound('before'), one] : [one, sound('after')];
    },
    attempt([before = Buffer.alloc(0), after = Buffer.alloc(0)]) {
      const patched = view(after);
      const change = compareUnit(unit, view(before), patched);
      const { file } = emit(patched, change, select(patched, change), 'alias_');
      const written = writeElf(file);
      assert.ok(written.length < 64 << 20, `${written.length} bytes were written`);
      readElf(written);
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 300 && outcome.accepted > 50);
});

test('proves mutated objects and mutated modules or refuses them by code', async (t) => {
  const outcome = await fuzz({
    name: 'moduleImage and proveUnit',
    cases: 5000,
    make: (random) => {
      const name = random.pick(['before', 'plain']);
      const one = mutateElf(random, sound(name));
      return random.chance(2) ? [sound(name), one] : [one, sound(name)];
    },
    attempt([object = Buffer.alloc(0), shipped = Buffer.alloc(0)]) {
      proveUnit({ ...unit, object: 'mod' }, view(object), moduleImage('mod', readElf(shipped)));
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 300 && outcome.accepted > 50);
});

test('compares the types of mutated objects or refuses them by code', async (t) => {
  const healthy = readElf(sound('before'));
  const outcome = await fuzz({
    name: 'readDwarf and compareTypes',
    cases: 3000,
    make: (random) => mutateElf(random, sound('after')),
    attempt(bytes) {
      const [original, patched] = [readDwarf(healthy), readDwarf(readElf(bytes))];
      if (original === undefined || patched === undefined) return;
      compareTypes(unit.source, original, patched, { changed: ['changed'], added: [] });
      compareTypes(unit.source, patched, original, { changed: ['other'], added: ['helper'] });
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 300 && outcome.accepted > 50);
});

test('turns mutated modules into livepatches or refuses them by code', async (t) => {
  const resolutions = new Map<string, Resolution>([
    ['hook', { kind: 'klp', name: 'hook', object: 'vmlinux', symbol: 'hook', sympos: 2 }],
    ['printk', { kind: 'klp', name: 'printk', object: 'some_mod', symbol: 'printk', sympos: 0 }],
  ]);
  const outcome = await fuzz({
    name: 'nameReferences and convertModule',
    cases: 8000,
    make: (random: Random) => mutateElf(random, sound(random.pick(['before', 'plain']))),
    attempt(bytes) {
      const file = readElf(bytes);
      nameReferences(file, 'holder', resolutions);
      convertModule(file, 'other');
      const again = readElf(writeElf(file));
      assert.equal(again.livepatchRelocations.length, file.livepatchRelocations.length);
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.cases >= 2000 && outcome.accepted > 100);
});
