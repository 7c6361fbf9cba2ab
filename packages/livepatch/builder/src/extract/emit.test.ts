import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readElf, SHN_UNDEF, STB_GLOBAL, writeElf } from '@kmend/elf';
import { compareUnit } from '../compare/compare.ts';
import { objectOf } from '../testing/gcc.ts';
import { type Extracted, emit } from './emit.ts';
import { select, shortBranches } from './extract.ts';

async function extract(before: string, after: string, flags: readonly string[] = []): Promise<Extracted> {
  const patched = await objectOf(after, { flags });
  const change = compareUnit({ source: 'a/unit.c', object: 'vmlinux' }, await objectOf(before, { flags }), patched);
  assert.deepEqual(change.reasons, []);
  return emit(patched, change, select(patched, change), 'alias_');
}

const BASE = `
int printk(const char *, ...); int shared; static int hidden; extern int (*hook)(int);
static __attribute__((noinline)) int helper(int a) { return a + hidden++; }
__attribute__((noinline)) int changed(int a) { shared += a; hook = changed; printk("first %d", a); return helper(a); }
int other(int a) { printk("second"); return changed(a); }
`;

test('extracts the new code and its strings only', async () => {
  const { file, replacements, needs } = await extract(BASE, BASE.replace('shared += a', 'shared -= a'));
  assert.deepEqual(replacements, [{ originalName: 'changed', alias: 'alias_0' }]);
  const defined = file.symbols.filter(({ place, name }) => place !== SHN_UNDEF && name !== '').map(({ name }) => name);
  assert.deepEqual(defined.sort(), ['alias_0', 'changed']);
  const text = Buffer.concat(file.sections.map(({ data }) => data)).toString('latin1');
  assert.match(text, /first %d/);
  assert.doesNotMatch(text, /second/);
  assert.deepEqual(needs.map(({ name }) => name).sort(), [
    '__fentry__',
    'changed',
    'helper',
    'hook',
    'printk',
    'shared',
  ]);
});

test('a stored address refers to the kernel’s function, not to the new one', async () => {
  const { file } = await extract(BASE, BASE.replace('shared += a', 'shared -= a'));
  const kept = file.symbols.filter(({ name }) => name === 'changed');
  assert.deepEqual(kept.map(({ place }) => place === SHN_UNDEF).sort(), [false, true]);
  const targets = file.sections
    .flatMap(({ relocations }) => relocations)
    .filter(({ symbol }) => symbol.name === 'changed');
  assert.deepEqual(
    targets.map(({ symbol }) => symbol.place),
    [SHN_UNDEF],
  );
});

test('includes a new static function, which is called directly', async () => {
  const after = BASE.replace(
    '__attribute__((noinline)) int changed(int a) {',
    'static __attribute__((noinline)) int fresh(int a) { return helper(a) + 1; } __attribute__((noinline)) int changed(int a) { a = fresh(a);',
  );
  const { file, replacements } = await extract(BASE, after);
  assert.deepEqual(
    replacements.map(({ originalName }) => originalName),
    ['changed'],
  );
  const fresh = file.symbols.find(({ name }) => name === 'fresh');
  assert.ok(fresh !== undefined && fresh.place !== SHN_UNDEF);
});

test('leads calls between extracted functions behind the padding in front of them, by whatever symbol', async () => {
  const fresh = (linkage: string, name: string): string =>
    `${linkage} __attribute__((noinline)) int ${name}(int a) { return helper(a) + 1; }`;
  const after = BASE.replace(
    '__attribute__((noinline)) int changed(int a) {',
    `${fresh('static', 'own')} ${fresh('', 'shown')} $& a = own(a) + shown(a);`,
  );
  const { file } = await extract(BASE, after, ['-fpatchable-function-entry=16,16']);
  const places = file.sections.flatMap(({ name, relocations }) =>
    name === '.text.changed'
      ? relocations.flatMap(({ symbol, addend }) =>
          typeof symbol.place !== 'number' && /^.text.(?:own|shown)$/.test(symbol.place.name)
            ? [symbol.value + addend + 4n]
            : [],
        )
      : [],
  );
  assert.deepEqual(places, [16n, 16n]);
});

test('writes an object that can be read again', async () => {
  const { file } = await extract(BASE, BASE.replace('shared += a', 'shared -= a'));
  const again = readElf(writeElf(file));
  assert.deepEqual(
    again.symbols
      .filter(({ bind }) => bind === STB_GLOBAL)
      .map(({ name }) => name)
      .sort(),
    file.symbols
      .filter(({ bind }) => bind === STB_GLOBAL)
      .map(({ name }) => name)
      .sort(),
  );
});

test('refers to the kernel in calls that the assembler resolved inside a section that functions share', async () => {
  const shared = '__attribute__((noinline, section(".sched.text")))';
  // Far enough away that no short jump would do.
  const far = 'asm volatile(".skip 300, 0x90");';
  const before = `
static int state; int printk(const char *, ...);
static ${shared} int helper(int a) { ${far} return a + state++; }
${shared} int caller(int a) { ${far} printk("%d", a); return helper(a) + 1; }
`;
  const { file, needs } = await extract(before, before.replace('helper(a) + 1', 'helper(a) + 2'));
  assert.ok(needs.some(({ name, original }) => name === 'helper' && original !== undefined));
  const code = file.sections.find(({ name }) => name === '.sched.text');
  const call = code?.relocations.find(({ symbol, addend }) => symbol.name === 'helper' && addend === -4n);
  assert.ok(code !== undefined && call !== undefined);
  // The kernel refuses a module where such a field is not zero.
  assert.deepEqual([...code.data.subarray(call.offset, call.offset + 4)], [0, 0, 0, 0]);
});

test('reports a jump that is too short to lead elsewhere', async () => {
  const shared = '__attribute__((noinline, section(".sched.text")))';
  const before = `
static int state;
static ${shared} int helper(int a) { return a + state++; }
${shared} int caller(int a) { state += 1; return helper(a); }
`;
  const patched = await objectOf(before.replace('state += 1', 'state += 2'));
  const change = compareUnit({ source: 'a/unit.c', object: 'vmlinux' }, await objectOf(before), patched);
  const short = shortBranches(patched, select(patched, change));
  assert.deepEqual(
    short.map(({ from, to }) => [from.symbol?.name, to.symbol?.name]),
    [['caller', 'helper']],
  );
});
