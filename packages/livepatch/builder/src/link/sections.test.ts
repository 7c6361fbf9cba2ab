import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readElf, writeElf } from '@kmend/elf';
import { compiled, linkedOf } from '../testing/gcc.ts';
import { dropSeals, unorder } from './sections.ts';

const FLAGS = ['-fpatchable-function-entry=16,16', '-fcf-protection=branch'];
const ENTRIES = '__patchable_function_entries';

test('removes the tie to code that stops the linker from joining lists of traced places', async () => {
  const file = readElf(await compiled('int first(int a) { return a; }', { flags: FLAGS }));
  assert.equal(unorder(file), true);
  const again = readElf(writeElf(file));
  assert.equal(unorder(again), false);
  assert.deepEqual(
    again.sections.filter(({ name }) => name === ENTRIES).map(({ relocations }) => relocations.length),
    [1],
  );
});

test('leaves an object without such lists unchanged', async () => {
  assert.equal(unorder(readElf(await compiled('int first(int a) { return a; }'))), false);
});

test('drops the list of ENDBRs to overwrite, and keeps everything else', async () => {
  const seal = 'asm(".pushsection .ibt_endbr_seal,\\"a\\"; .long first - .; .popsection");';
  const file = await linkedOf([['unit.c', `int first(int a) { return a; } ${seal}`]], FLAGS);
  const others = file.sections.filter(({ name }) => name !== '.ibt_endbr_seal');
  assert.equal(others.length, file.sections.length - 1);
  dropSeals(file);
  assert.deepEqual(file.sections, others);
  // What refers to a section that is gone cannot be written.
  assert.ok(readElf(writeElf(file)).symbols.some(({ name }) => name === 'first'));
});
