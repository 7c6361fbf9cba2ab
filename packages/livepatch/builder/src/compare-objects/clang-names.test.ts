import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run } from '@kmend/base/node';
import { type CompileOptions, compiled } from '../testing/gcc.ts';
import { compareObjects } from './compare-objects.ts';
import type { ObjectComparison } from './model.ts';

// clang is not needed for these: gcc gives the names that assembler labels ask for.

const directory = await mkdtemp(join(tmpdir(), 'kmend-compare-clang-'));
after(() => rm(directory, { recursive: true, force: true }));

async function compare(before: string, patched: string, options: CompileOptions = {}): Promise<ObjectComparison> {
  const paths = [join(directory, 'before'), join(directory, 'patched')] as const;
  for (const [index, text] of [before, patched].entries())
    await writeFile(paths[index] ?? '', await compiled(text, options));
  return await compareObjects({ run, signal: new AbortController().signal }, { original: paths[0], patched: paths[1] });
}

const codes = ({ reasons }: ObjectComparison): string[] => reasons.map(({ code }) => code).sort();
const names = (items: readonly { readonly name: string }[]): string[] => items.map(({ name }) => name).sort();

/** A function with a static variable of a clang name, as it would be before and after it has another number. */
const withStatic = (type: string, label: string, section = ''): string => `
  void use(const void *, int);
  void f(int a) { static ${type} variable asm("${label}") ${section === '' ? '' : `__attribute__((section("${section}")))`}; use(&variable, a); }
  void g(int a) { use(&g, a); }`;

const OWN_COPIES: Readonly<Record<string, readonly [type: string, section?: string]>> = {
  'f.__key': ['struct { int x[2]; }'],
  'f.__warned': ['_Bool', '.data.unlikely'],
  'f.__already_done': ['_Bool', '.data.once'],
  'f._rs': ['struct { int interval, burst; }'],
  'f.__print_once': ['_Bool', '.data..read_mostly'],
  'f.__UNIQUE_ID_ddebug317': ['struct { int line; }', '__dyndbg'],
  'f.__func__': ['const char[3]', '.rodata'],
};

for (const [label, [type, section]] of Object.entries(OWN_COPIES)) {
  test(`accepts an added or removed ${label} of clang, of which each object has its own copy`, async () => {
    const [with_, declared] = [withStatic('int', 'x'), type.replace(/^(.*?)(\[\d+\])?$/, 'typeof($1$2)')];
    const text = (name: string): string =>
      with_.replace(
        'static int variable asm("x") ;',
        `static ${declared} variable asm("${name}")${section === undefined ? '' : ` __attribute__((section("${section}")))`};`,
      );
    const same = await compare(text(label), text(`${label}.8`));
    assert.deepEqual([same.verdict, same.functions.same, codes(same)], ['unchanged', 2, []]);
    const without = await compare(text(label), text(label).replace('use(&variable, a)', 'use(0, a)'));
    assert.deepEqual([names(without.functions.changed), codes(without)], [['f'], []]);
    const added = await compare(text(label).replace('use(&variable, a)', 'use(0, a)'), text(label));
    assert.deepEqual([names(added.functions.changed), codes(added)], [['f'], []]);
    assert.deepEqual([same.data.same, without.data.removed, added.data.added], [0, [], []]);
  });
}

test('recognises a function’s static variable: refuses its removal, asks for a review of a new one', async () => {
  const text = withStatic('int', 'f.calls').replace('use(&variable, a)', 'use(0, variable++ + a)');
  const none = withStatic('int', 'f.calls').replace('use(&variable, a)', 'use(0, a)');
  assert.deepEqual(codes(await compare(text, none)), ['static-local-removed']);
  assert.deepEqual(codes(await compare(none, text)), ['static-local-added']);
});

test('takes a static variable with another number for the same variable', async () => {
  const counting = (label: string): string =>
    withStatic('int', label).replace('use(&variable, a)', 'use(0, variable++ + a)');
  const comparison = await compare(counting('f.calls.3'), counting('f.calls.11'));
  assert.deepEqual([comparison.verdict, comparison.data.same], ['unchanged', 1]);
});

test('recognises what link-time optimisation made global, whatever hash it has', async () => {
  const promoted = (hash: string): string => `
    int state asm("state${hash}") = 4; const int table[2] asm("table${hash}") = { 1, 2 };
    int helper(int a) asm("helper${hash}");
    __attribute__((noipa)) int helper(int a) { return state + table[a & 1]; }
    int f(int a) { return helper(a) + 1; }`;
  for (const [before, after] of [
    ['.llvm.12345678901234567890', '.llvm.99345678901234567891'],
    ['', '.llvm.7'],
  ] as const) {
    const same = await compare(promoted(before), promoted(after));
    assert.deepEqual([same.verdict, same.functions.same, same.data.same], ['unchanged', 2, 2]);
  }
  const changed = await compare(promoted('.llvm.1'), promoted('.llvm.2').replace('{ 1, 2 }', '{ 1, 3 }'));
  assert.deepEqual([changed.verdict, codes(changed)], ['refused', ['constant-changed']]);
});
