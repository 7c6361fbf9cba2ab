import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { registeredCode } from './registered.ts';

const folder = mkdtempSync(join(tmpdir(), 'kmend-registered-'));
after(() => rmSync(folder, { recursive: true }));

/**
 * Two objects with a function of one name each, two of one name in one object, and a table that only looks like one of
 * livepatch's.
 */
const SOURCE = `
struct klp_func { const char *old_name; void *new_func; unsigned long old_sympos; char rest[64]; };
struct klp_object { const char *name; struct klp_func *funcs; char rest[64]; };
#define CODE(alias, place) __attribute__((section(place), used)) static void alias(void) { __asm__ volatile("nop"); }
CODE(first_show, ".text.show")
CODE(second_show, ".text.show")
CODE(third_show, ".text.show")
CODE(parse, ".text.parse.isra.0")
CODE(unrelated, ".text.unrelated")
static struct klp_func vmlinux_funcs[] = {
	{ "show", first_show, 2 }, { "show", second_show, 3 }, { "parse.isra.0", parse, 0 }, { 0 },
};
static struct klp_func module_funcs[] = { { "show", third_show, 0 }, { 0 } };
struct klp_object objects[] = { { 0, vmlinux_funcs }, { "some_mod", module_funcs }, { 0 } };
struct { const char *name; void *call; } operations[] = { { "unrelated", unrelated }, { "show", unrelated } };
`;

function compiled(): Buffer {
  const source = join(folder, 'a.c');
  writeFileSync(source, SOURCE);
  execFileSync('gcc', ['-c', '-O1', '-fno-pic', '-mcmodel=kernel', source, '-o', join(folder, 'a.o')]);
  return readFileSync(join(folder, 'a.o'));
}

const entry = (name: string, sympos: number) => ({ name, sympos, source: 'a.c' });

test('finds the new code by what the module registers, also if names are the same', () => {
  const vmlinux = { name: 'vmlinux', functions: [entry('show', 2), entry('show', 3), entry('parse.isra.0', 0)] };
  const found = registeredCode(compiled(), [vmlinux, { name: 'some_mod', functions: [entry('show', 0)] }]);
  assert.deepEqual(
    found.map(({ object, name, sympos, section }) => [object, name, sympos, section]),
    [
      ['vmlinux', 'show', 2, '.text.show'],
      ['vmlinux', 'show', 3, '.text.show'],
      ['vmlinux', 'parse.isra.0', 0, '.text.parse.isra.0'],
      ['some_mod', 'show', 0, '.text.show'],
    ],
  );
  const places = found.filter(({ section }) => section === '.text.show').map(({ offset }) => offset);
  assert.equal(new Set(places).size, 3);
  assert.ok(places[0] !== undefined && places[1] !== undefined && places[0] < places[1]);
});

test('refuses a manifest that the module contradicts', () => {
  for (const [object, name, sympos] of [
    ['vmlinux', 'show', 1],
    ['vmlinux', 'unrelated', 0],
    ['other_mod', 'show', 0],
  ] as const) {
    assert.throws(
      () => registeredCode(compiled(), [{ name: object, functions: [entry(name, sympos)] }]),
      (error) => errorCode(error) === 'lab-proof-unsuitable',
    );
  }
});
