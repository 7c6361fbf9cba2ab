import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ElfFile, SHN_UNDEF } from '@kmend/elf';
import { extractOf, sectionNamed, targetsOf } from '../testing/fixture.ts';
import { objectOf } from '../testing/gcc.ts';
import { DeadEnds } from './dead-ends.ts';

/** `stop` as `skb_panic()` is: not marked, but BUG() ends it. `leave` goes on in another file; `pick` may return. */
const BASE = `
int use(int); void elsewhere(void); void announce(const char *, int);
noinline static void stop(int a) { announce("over", a); __builtin_trap(); }
noinline static void loop(int a) { for (;;) use(a++); }
noinline static void through(int a) { use(a); stop(a + 1); }
noinline static void leave(int a) { use(a); elsewhere(); }
noinline static void pick(int a) { if (a) stop(a); use(a); }
int changed(int a, int b) {
  if (a == 1) stop(b);
  if (a == 2) through(b);
  if (a == 3) loop(b);
  if (a == 4) leave(b);
  if (a == 5) pick(b);
  return use(a) + 1;
}
`;

/** The functions whose calls are marked as dead ends: the mark is the address behind the call. */
function marked(file: ElfFile): string[] {
  const marks = sectionNamed(file, '.discard.unreachable')?.relocations ?? [];
  return marks.map(({ symbol, addend }) => {
    if (typeof symbol.place === 'number') return '';
    const [name = ''] = targetsOf({
      ...symbol.place,
      relocations: symbol.place.relocations.filter(({ offset }) => BigInt(offset) + 4n === addend),
    });
    assert.equal(symbol.place.data[Number(addend) - 5], 0xe8);
    return name;
  });
}

test('marks calls of functions that stay in the kernel and never return as dead ends', async () => {
  const { file } = await extractOf(BASE, BASE.replace('use(a) + 1', 'use(a) + 2'));
  assert.ok(file.symbols.some(({ name, place }) => name === 'stop' && place === SHN_UNDEF));
  assert.deepEqual(marked(file).sort(), ['loop!', 'stop!', 'through!']);
});

test('marks a call of a replaced function that ends in one of the kernel', async () => {
  const after = BASE.replace('use(a) + 1', 'use(a) + 2').replace('use(a); stop(a + 1)', 'use(a); stop(a + 2)');
  const { file } = await extractOf(BASE, after);
  assert.ok(file.symbols.some(({ name, place }) => name === 'through' && place !== SHN_UNDEF));
  assert.ok(marked(file).includes('.text.through'));
});

test('adds marks to those that the unit has', async () => {
  const own = 'asm volatile("1: ud2; .pushsection .discard.unreachable; .long 1b + 2 - .; .popsection");';
  const before = BASE.replace('if (a == 1)', `if (a == 9) { ${own} } if (a == 1)`);
  const { file } = await extractOf(before, before.replace('use(a) + 1', 'use(a) + 2'));
  const section = sectionNamed(file, '.discard.unreachable');
  assert.equal(section?.relocations.length, 4);
  assert.deepEqual(
    section.relocations.map(({ offset }) => offset).sort((a, b) => a - b),
    [0, 4, 8, 12],
  );
  assert.equal(section.size, 16);
});

const RETURNING: readonly (readonly [what: string, body: string])[] = [
  ['returns', 'ret'],
  ['jumps to the thunk that returns, which is of another file', 'jmp __x86_return_thunk'],
  ['jumps through a register', 'jmp *%rax'],
  ['jumps through memory', 'jmp *8(%rax)'],
  ['returns from an interrupt', 'iretq'],
  ['has bytes that are no instruction', '.byte 0x06'],
  ['jumps to a function that returns', 'jmp back'],
  ['may jump to a function that returns', 'test %eax, %eax; je back; ud2'],
];

const assembler = (body: string, bind = ''): string => `
.section .text.f, "ax"
${bind}
.type f, @function
f: ${body}
.size f, . - f
.section .text.back, "ax"
.type back, @function
back: ret
.size back, . - back
`;

async function neverReturns(body: string, bind?: string): Promise<boolean> {
  const view = await objectOf(assembler(body, bind), { language: 's' });
  const atom = view.byKey('f');
  assert.ok(atom !== undefined);
  return new DeadEnds(view).neverReturns(atom);
}

for (const [what, body] of RETURNING) {
  test(`takes a function that ${what} for no dead end`, async () => {
    assert.equal(await neverReturns(body), false);
  });
}

test('treats a function that traps or loops endlessly as a dead end, unless another file may define it', async () => {
  assert.equal(await neverReturns('call elsewhere; ud2'), true);
  assert.equal(await neverReturns('1: pause; jmp 1b'), true);
  assert.equal(await neverReturns('ud2', '.weak f'), false);
});
