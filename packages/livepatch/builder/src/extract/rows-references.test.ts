import assert from 'node:assert/strict';
import { test } from 'node:test';
import { R_X86_64_64, type Section, SHN_UNDEF, sectionOf } from '@kmend/elf';
import { codesOf, extractOf, namesOf, sectionNamed, summary, targetsOf } from '../testing/fixture.ts';

/**
 * Where what is extracted leads: calls into the livepatch, addresses that are kept to the running kernel, keys to their
 * owners.
 */

const BASE = `
int shared; int (*hook)(int);
static noinline int helper(int a) { return a + shared; }
noinline int changed(int a) { hook = helper; if (a > 3) return helper(a) + 1; return helper(a); }
int other(int a) { return helper(a) + changed(a); }
`;

test('keeps calls and jumps between changed functions in the livepatch, also of static functions', async () => {
  const after = BASE.replace('a + shared', 'a - shared').replace('helper(a) + 1', 'helper(a) + 2');
  const { change, file, needs } = await extractOf(BASE, after);
  assert.deepEqual(summary(change), [['changed', 'helper'], [], []]);
  const text = sectionNamed(file, '.text.changed');
  // The address that `hook` keeps, and two branches.
  const to = (text?.relocations ?? []).filter(
    ({ symbol }) => symbol.name === 'helper' || sectionOf(symbol)?.name === '.text.helper',
  );
  assert.deepEqual(
    to.map(({ symbol, type }) => [sectionOf(symbol)?.name, type === R_X86_64_64 || type === 11]),
    [
      [undefined, true],
      ['.text.helper', false],
      ['.text.helper', false],
    ],
  );
  assert.ok(needs.some(({ name }) => name === 'helper'));
});

test('refers in new data to the kernel’s changed functions, and to its own new ones', async () => {
  const before = `void take(const void *); int plain(int a) { return a * 3; } int changed(int a) { take(0); return a; }`;
  const after = before.replace(
    'int changed(int a) { take(0)',
    `int changed(int); static noinline int fresh(int a) { return a * 2; }
     static int (*const operations[])(int) = { changed, fresh, plain };
     int changed(int a) { take(operations)`,
  );
  const { change, file } = await extractOf(before, after);
  assert.deepEqual(summary(change), [['changed'], ['fresh', 'operations'], []]);
  const data = file.sections.find(({ name }) => name.endsWith('.operations'));
  assert.deepEqual(targetsOf(data), ['changed!', '.text.fresh', 'plain!']);
});

test('calls the kernel’s own function from a piece out of line, and returns into the new code', async () => {
  const piece = `asm volatile("jmp 1f\\n2:\\n.pushsection .altinstr_aux,\\"ax\\"\\n1: call helper\\njmp 2b\\n.popsection" : : : "eax");`;
  const before = BASE.replace('hook = helper;', `hook = helper; ${piece}`);
  const { change, file } = await extractOf(before, before.replace('helper(a) + 1', 'helper(a) + 2'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  assert.deepEqual(targetsOf(sectionNamed(file, '.altinstr_aux')), ['helper!', '.text.changed']);
  assert.equal(sectionNamed(file, '.text.helper'), undefined);
});

const KEYS = `struct static_key here, *listed = &here; extern struct static_key outside;
int run(int); int changed(int a) { STATIC_BRANCH(&here, yes); return run(a); yes: return run(a + 1); }
int second(int a) { STATIC_BRANCH(&outside, yes); return run(a); yes: return run(a + 3); }
`;

test('static branches: refers to a key of the kernel, includes a new one', async () => {
  const { file, needs } = await extractOf(KEYS, KEYS.replace('a + 1', 'a + 2').replace('a + 3', 'a + 4'));
  assert.deepEqual(
    targetsOf(sectionNamed(file, '__jump_table'))
      .filter((name) => !name.startsWith('.text'))
      .sort(),
    ['here!', 'outside!'],
  );
  assert.deepEqual(
    needs
      .filter(({ name }) => name === 'here' || name === 'outside')
      .map(({ name, original }) => [name, original?.section.name])
      .sort(),
    [
      ['here', '.bss.here'],
      ['outside', undefined],
    ],
  );
  const own = KEYS.replace('int run(int);', 'static struct static_key fresh = { 1 }; int run(int);').replace(
    '&here, yes',
    '&fresh, yes',
  );
  const added = await extractOf(KEYS, own);
  assert.deepEqual(summary(added.change), [['changed'], ['fresh'], []]);
  assert.deepEqual(
    targetsOf(sectionNamed(added.file, '__jump_table')).filter((name) => !name.startsWith('.text')),
    ['fresh'],
  );
});

/**
 * A static call as the kernel makes it (include/linux/static_call.h): to a trampoline, with the key mentioned for
 * objtool.
 */
const CALLS = `
extern struct { void *function; } __SCK__hook; extern int __SCT__hook(int);
static void *mention __used __section(".discard.addressable") = &__SCK__hook;
int changed(int a) { return __SCT__hook(a) + 1; } int below(int a) { return a; }
`;

test('static calls: includes the key with the trampoline, so that objtool can pair them', async () => {
  const { change, file, needs } = await extractOf(CALLS, CALLS.replace('+ 1', '+ 2'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  assert.deepEqual(needs.map(({ name }) => name).sort(), ['__SCK__hook', '__SCT__hook', '__fentry__']);
  assert.equal(file.symbols.find(({ name }) => name === '__SCK__hook')?.place, SHN_UNDEF);
  const without = await extractOf(CALLS, CALLS.replace('return a;', 'return a + 1;'));
  assert.deepEqual(
    without.needs.map(({ name }) => name),
    ['__fentry__'],
  );
});

test('includes only the callers of a changed inlined helper', async () => {
  const inlined = BASE.replace('static noinline', 'static inline __attribute__((always_inline))').replace(
    'hook = helper;',
    '',
  );
  const { change, file } = await extractOf(inlined, inlined.replace('a + shared', 'a - shared'));
  assert.deepEqual([namesOf(change.changed.keys()), codesOf(change)], [['changed', 'other'], []]);
  const code = (section: Section): boolean => section.name.startsWith('.text');
  assert.deepEqual(
    file.sections
      .filter(code)
      .map(({ name }) => name)
      .sort(),
    ['.text.changed', '.text.other'],
  );
});
