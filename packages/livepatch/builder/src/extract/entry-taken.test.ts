import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Relocation, type Section, SHF_EXECINSTR, sectionOf } from '@kmend/elf';
import { moduleImage } from '../byte-proof/image.ts';
import { proveUnit } from '../byte-proof/prove.ts';
import { compareUnit } from '../compare/compare.ts';
import { elfOf, objectOf } from '../testing/gcc.ts';
import { emit } from './emit.ts';
import { select } from './extract.ts';

const UNIT = { source: 'a/unit.c', object: 'mod' };

/** As WARN() of 7.x (arch/x86/include/asm/bug.h, __WARN_bug_entry); `taken`: what place it hands on. */
const warn = (line: number, taken = '2f'): string =>
  `({ void *bug; asm volatile("lea (${taken})(%%rip), %0\\n1:\\n.pushsection __bug_table,\\"aw\\"\\n2: .long 1b - .\\n .long %c1 - .\\n .word ${line}\\n .word 1\\n .org 2b+12\\n.popsection" : "=r" (bug) : "i" ("unit.c")); report(bug); })`;

const source = (first: string, second = warn(9)): string => `
void report(void *); int shared;
void first(int a) { shared += a; ${first}; }
void second(int a) { if (a > 3) ${second}; if (a > 7) ${warn(11)}; shared -= a; }
void third(int a) { shared ^= a; ${warn(15)}; }
`;

test('finds no other function changed where a fix adds a WARN()', async () => {
  const change = compareUnit(UNIT, await objectOf(source(warn(3))), await objectOf(source(`${warn(3)}; ${warn(4)}`)));
  assert.deepEqual(change.reasons, []);
  assert.deepEqual(
    [...change.changed.keys()].map(({ symbol }) => symbol?.name),
    ['first'],
  );
});

test('leads new code to its own entries of the table', async () => {
  const patched = await objectOf(source('', `${warn(9)}; shared = 2`));
  const change = compareUnit(UNIT, await objectOf(source('')), patched);
  const { file, needs } = emit(patched, change, select(patched, change), 'alias_');
  assert.ok(!needs.some(({ name }) => name === ''));
  const isCode = ({ flags }: Section): boolean => (flags & SHF_EXECINSTR) !== 0;
  const taken = file.sections
    .filter(isCode)
    .flatMap(({ relocations }) => relocations)
    .filter(({ symbol }) => sectionOf(symbol)?.name === '__bug_table');
  assert.equal(taken.length, 2);
  for (const { symbol, addend, offset } of taken) {
    const at = Number(addend) + 4;
    const about = sectionOf(symbol)?.relocations.find((relocation: Relocation) => relocation.offset === at);
    assert.ok(about !== undefined);
    // The place behind the instruction.
    assert.equal(Number(about.symbol.value + about.addend), offset + 4);
  }
});

test('proves code only where the kernel’s takes the entry that is about it', async () => {
  const view = await objectOf(source(warn(3)));
  const proof = async (shipped: string) => {
    const { equal, different } = proveUnit(UNIT, view, moduleImage('mod', await elfOf(shipped)));
    return [equal.toSorted(), different.map((one) => one.function)];
  };
  assert.deepEqual(await proof(source(warn(3))), [['first', 'second', 'third'], []]);
  assert.deepEqual(await proof(source(warn(3), warn(9, '2f + 12'))), [['first', 'third'], ['second']]);
});
