import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { cpuMs } from '@kmend/base/testing';
import type { ElfFile, Section } from '@kmend/elf';
import { compareTypes } from '../compare/types.ts';
import { elfOf } from '../testing/gcc.ts';
import { readDwarf } from './index.ts';

const TEXT = `
typedef struct { int counter; } atomic_t;
enum state { IDLE, READY };
struct node { struct node *next; union { int a; struct { short b; unsigned c : 3; }; }; enum state state; atomic_t refs[4]; int (*call)(struct node *, ...); };
struct node *head; static const int limit = 3;
static inline int part(struct node *n) { int x = n->a; { struct node *m = n->next; if (m) x += m->refs[1].counter; } return x; }
int use(struct node *n) { return part(n) + part(head) + (n->state == READY) + limit; }
int other(struct node *n) { return n->call(n); }
`;

const LIMIT_MS = 5000;

/** The object again, with one section's bytes replaced. */
function withBytes(file: ElfFile, target: Section, data: Uint8Array): ElfFile {
  const section = { ...target, data, size: data.length };
  return { ...file, sections: file.sections.map((each) => (each === target ? section : each)) };
}

/**
 * Compares in both directions; anything but success or `dwarf-damaged` fails the test. Returns whether it was damaged.
 */
function survives(healthy: ElfFile, broken: ElfFile, what: string): boolean {
  const started = cpuMs();
  let isDamaged = false;
  for (const [before, after] of [
    [healthy, broken],
    [broken, healthy],
  ] as const) {
    try {
      const [original, patched] = [readDwarf(before), readDwarf(after)];
      if (original !== undefined && patched !== undefined) {
        compareTypes('unit.c', original, patched, { changed: ['use'], added: ['other'] });
      }
    } catch (error) {
      assert.equal(errorCode(error), 'dwarf-damaged', `${what}: ${String(error)}`);
      isDamaged = true;
    }
  }
  assert.ok(cpuMs() - started < LIMIT_MS, `${what} took too long`);
  return isDamaged;
}

/** Numbers that look random and are the same in every run (a linear congruential generator). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

for (const flags of ['-gdwarf-3', '-gdwarf-4 -fdebug-types-section', '-gdwarf-5']) {
  test(`ends every mutation of ${flags} in a result or in dwarf-damaged`, async () => {
    const file = await elfOf(TEXT, flags.split(' '));
    const next = generator(flags.length);
    let damagedCount = 0;
    const names = ['.debug_info', '.debug_abbrev', '.debug_types', '.debug_line', '.debug_str'];
    const targets = file.sections.filter(({ name }) => names.includes(name));
    for (let round = 0; round < 600; round++) {
      const target = targets[round % targets.length];
      assert.ok(target !== undefined);
      const data = Buffer.from(target.data);
      for (let edits = 1 + next(4); edits > 0; edits--) data[next(data.length)] = next(3) === 0 ? 0xff : next(256);
      if (survives(file, withBytes(file, target, data), `round ${round} in ${target.name}`)) damagedCount++;
    }
    assert.ok(damagedCount > 100, `only ${damagedCount} were seen to be damaged`);
  });

  test(`ends every truncation of ${flags} in a result or in dwarf-damaged`, async () => {
    const file = await elfOf(TEXT, flags.split(' '));
    for (const name of ['.debug_info', '.debug_abbrev', '.debug_str']) {
      const target = file.sections.find((section) => section.name === name);
      assert.ok(target !== undefined);
      for (let size = 0; size < target.data.length; size += 7) {
        survives(file, withBytes(file, target, target.data.subarray(0, size)), `${name} cut at ${size}`);
      }
    }
  });
}

/** A unit by hand: `abbreviations` and `entries` in assembler. */
async function byHand(abbreviations: string, entries: string): Promise<ElfFile> {
  const text = `
  .section .debug_abbrev,"",@progbits
  .uleb128 1; .uleb128 0x11; .byte 1; .uleb128 0; .uleb128 0
  ${abbreviations}
  .byte 0
  .section .debug_info,"",@progbits
unit: .long end - 1f
1: .value 4
  .long .debug_abbrev
  .byte 8
  .uleb128 1
  ${entries}
  .byte 0
end:
`;
  return await elfOf(text, [], 'hand.s');
}

const POINTER =
  '.uleb128 3; .uleb128 0x34; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0';

/** An abbreviation of a type that refers to another type, and no more. */
const alias = (tag: string): string =>
  `.uleb128 2; .uleb128 ${tag}; .byte 0; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0`;

test('reports types that contain themselves, and references to themselves or nothing, as damaged', async () => {
  const variable = '.uleb128 3; .string "v"; .long type - unit';
  const cases: [string, string, string][] = [
    ['a typedef of itself', `${alias('0x16')}\n${POINTER}`, `type: .uleb128 2; .long type - unit; ${variable}`],
    ['an array of itself', `${alias('0x01')}\n${POINTER}`, `type: .uleb128 2; .long type - unit; ${variable}`],
    ['a pointer to itself', `${alias('0x0f')}\n${POINTER}`, `type: .uleb128 2; .long type - unit; ${variable}`],
    ['a reference outside', `${alias('0x16')}\n${POINTER}`, `type: .uleb128 2; .long 0x7fffffff; ${variable}`],
    ['a reference into the header', `${alias('0x16')}\n${POINTER}`, `type: .uleb128 2; .long 3; ${variable}`],
    ['an unknown abbreviation', POINTER, `type: .uleb128 9; ${variable}`],
    [
      'an unknown form',
      `.uleb128 2; .uleb128 0x24; .byte 0; .uleb128 3; .uleb128 0x7e; .uleb128 0; .uleb128 0`,
      '.uleb128 2',
    ],
    [
      'an entry that is its own origin',
      '.uleb128 2; .uleb128 0x34; .byte 0; .uleb128 0x31; .uleb128 0x13; .uleb128 0; .uleb128 0',
      'type: .uleb128 2; .long type - unit',
    ],
    [
      'a struct that holds itself',
      `.uleb128 2; .uleb128 0x13; .byte 1; .uleb128 0x0b; .uleb128 0x0b; .uleb128 0; .uleb128 0
       .uleb128 4; .uleb128 0x0d; .byte 0; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0
       .uleb128 5; .uleb128 0x16; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0`,
      'type: .uleb128 2; .byte 8; .uleb128 4; .long type - unit; .byte 0; .uleb128 5; .string "t"; .long type - unit',
    ],
    [
      'a sibling that goes back',
      '.uleb128 2; .uleb128 0x13; .byte 1; .uleb128 0x01; .uleb128 0x13; .uleb128 0; .uleb128 0',
      'type: .uleb128 2; .long type - unit; .byte 0',
    ],
  ];
  const benign = new Set(['an entry that is its own origin']);
  for (const [what, abbreviations, entries] of cases) {
    const file = await byHand(abbreviations, entries);
    // The variable is what makes its type be looked at.
    const use = (): unknown => {
      const [original, patched] = [readDwarf(file), readDwarf(file)];
      assert.ok(original !== undefined && patched !== undefined);
      return compareTypes('hand.s', original, patched, { changed: ['f'], added: [] });
    };
    if (benign.has(what)) assert.deepEqual(use(), [], what);
    else if (/typedef|outside|header|unknown|holds|back/.test(what))
      assert.throws(use, { code: 'dwarf-damaged' }, what);
    if (what === 'a sibling that goes back') assert.throws(use, { message: /says that \d+ follows/ });
    survives(file, file, what);
  }
});

test('reports structs that double at every step as damaged', async () => {
  // Each anonymous struct has two members of the one before: forty of them open into 2^40 members.
  const abbreviations = `
    .uleb128 2; .uleb128 0x13; .byte 1; .uleb128 0; .uleb128 0
    .uleb128 3; .uleb128 0x13; .byte 1; .uleb128 3; .uleb128 8; .uleb128 0; .uleb128 0
    .uleb128 4; .uleb128 0x0d; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0
    .uleb128 5; .uleb128 0x24; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0; .uleb128 0`;
  const structs = Array.from({ length: 40 }, (_, index) => {
    const inner = index === 0 ? 'base' : `s${index - 1}`;
    const member = (name: string): string => `.uleb128 4; .string "${name}"; .long ${inner} - unit`;
    const head = index === 39 ? '.uleb128 3; .string "big"' : '.uleb128 2';
    return `s${index}: ${head}; ${member('a')}; ${member('b')}; .byte 0`;
  });
  const file = await byHand(abbreviations, `base: .uleb128 5; .string "int"; ${structs.join('\n')}`);
  assert.equal(survives(file, file, 'doubling structs'), true);
});

test('reports prototypes that double at every step as damaged', async () => {
  const abbreviations = `
    .uleb128 2; .uleb128 0x15; .byte 1; .uleb128 0; .uleb128 0
    .uleb128 3; .uleb128 0x34; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0
    .uleb128 4; .uleb128 0x05; .byte 0; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0
    .uleb128 5; .uleb128 0x24; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0; .uleb128 0
    .uleb128 6; .uleb128 0x13; .byte 1; .uleb128 3; .uleb128 8; .uleb128 0; .uleb128 0
    .uleb128 7; .uleb128 0x0d; .byte 0; .uleb128 3; .uleb128 8; .uleb128 0x49; .uleb128 0x13; .uleb128 0; .uleb128 0`;
  // Sixteen steps take more words than any real type, fifty more than any memory.
  for (const steps of [16, 50]) {
    const types = Array.from({ length: steps }, (_, index) => {
      const inner = index === 0 ? 'base' : `f${index - 1}`;
      return `f${index}: .uleb128 2; .uleb128 4; .long ${inner} - unit; .uleb128 4; .long ${inner} - unit; .byte 0`;
    });
    const struct = `.uleb128 6; .string "ops"; .uleb128 7; .string "f"; .long f${steps - 1} - unit; .byte 0`;
    const file = await byHand(abbreviations, `base: .uleb128 5; .string "int"; ${types.join('\n')}\n${struct}`);
    assert.equal(survives(file, file, `prototypes doubled ${steps} times`), true);
  }
});

test('reports compressed sections with a wrong size as damaged', async () => {
  const file = await elfOf(TEXT, ['-g', '-gz=zlib']);
  const target = file.sections.find(({ name }) => name === '.debug_str');
  assert.ok(target !== undefined);
  for (const [offset, value] of [
    [8, 1n],
    [8, 1n << 40n],
    [8, 5000n],
    [0, 7n],
  ] as const) {
    const data: Buffer = Buffer.from(target.data);
    if (offset === 8) data.writeBigUInt64LE(value, offset);
    else data.writeUInt32LE(Number(value), offset);
    assert.equal(survives(file, withBytes(file, target, data), `compression header ${offset}: ${value}`), true);
  }
  assert.equal(survives(file, withBytes(file, target, target.data.subarray(0, 20)), 'half a header'), true);
});
