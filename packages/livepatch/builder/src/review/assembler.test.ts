import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemblerReasons } from './assembler.ts';
import { mayAddTopLevel, topLevelReasons } from './top-level.ts';

const BEFORE = '#define WARN(x) asm volatile("ud2")\nasm(".globl known");\nint f(int a)\n{\n\treturn a;\n}\n';
const codes = (added: string, body = ''): string[] => {
  const after = `${BEFORE.replace('return a', `${body}return a`)}${added}\n`;
  return assemblerReasons('lib/unit.c', BEFORE, after).map(({ code, verdict }) => {
    assert.equal(verdict, 'needs-review');
    return code;
  });
};

test('asks for a review of assembler code outside of functions', () => {
  for (const added of [
    'asm("");',
    '__asm__(".incbin \\"/home/operator/release.key\\"");',
    '__asm("x: .long 1");',
    'as\\\nm("x");',
    'extern int g(int) asm("other_name");',
    'asm(".globl known");',
    '#define ADD(x) asm(x)',
    '%:define ADD(x) asm(x)',
    '#define ADD asm',
    '#if 0\nasm("");\n#endif',
  ]) {
    assert.deepEqual(codes(added), ['asm-added'], added);
  }
});

test('asks for a review of assembler code in functions that leaves its place', () => {
  for (const body of [
    'asm(".pushsection .data; .long 1; .popsection");',
    'asm volatile("nop\\n\\t.section .x\\n" : : "r"(a));',
    'asm(".push" "section .x");',
    'asm("\\x2eincbin \\"/etc/passwd\\"");',
    'asm("\\056incbin \\"/etc/passwd\\"");',
    'asm(STRING(.incbin "/etc/passwd"));',
    'alternative("nop", "nop; .pushsection .x", 1);',
  ]) {
    assert.deepEqual(codes('', body), ['asm-added'], body);
  }
  for (const body of ['asm volatile("" : : : "memory");', 'pr_info("see .config and the .text section");', 'WARN(1);'])
    assert.deepEqual(codes('', body), [], body);
});

test('asks for a review of attributes that place, rename or start code', () => {
  for (const added of [
    'static int x __attribute__((section(".init.data")));',
    'static int x __attribute((__used__, __section__(".x")));',
    'static int x __section(".x");',
    'static void start(void) __attribute__((constructor));',
    'void other(void) __attribute__((alias("f")));',
    'void other(void) __attribute__((__ifunc__("f")));',
  ]) {
    assert.deepEqual(codes(added), ['attribute-added'], added);
  }
  assert.deepEqual(codes('static struct section_info *section(int alias) { return 0; }'), []);
  assert.deepEqual(codes('static int x __attribute__((aligned(8)));'), []);
});

test('asks for a review if the fix tests what files there are', () => {
  for (const added of [
    '#if __has_include("/etc/passwd")\n#endif',
    '#ifdef X\n#elif defined(Y) && __has_include(<x.h>)\n#endif',
    '#define HAS __has_include("/etc/passwd")',
    '#pragma GCC dependency "/etc/passwd"',
  ]) {
    assert.deepEqual(codes(added), ['include-asked'], added);
  }
});

test('does not report what was there before, wherever it moves', () => {
  assert.deepEqual(assemblerReasons('lib/unit.c', BEFORE, `int g;\n${BEFORE}`), []);
  const moved = `int f(int a)\n{\n\treturn a;\n}\nasm(".globl known");\n#define WARN(x) asm volatile("ud2")\n`;
  assert.deepEqual(assemblerReasons('lib/unit.c', BEFORE, moved), []);
});

test('looks behind macros only where one can make something outside of functions', () => {
  const plain = BEFORE.replace('return a;', 'struct g h = { .a = CALL(1) };\n\tCALL(a);\n\treturn a + 1;');
  assert.equal(mayAddTopLevel(BEFORE, plain), false);
  for (const added of ['static int g(struct a *b)\n{\n\treturn 0;\n}', 'static int h;', 'struct a { int b; };'])
    assert.equal(mayAddTopLevel(BEFORE, `${BEFORE}${added}\n`), false, added);
  for (const added of [
    'EXPORT_SYMBOL(f);',
    '#include <linux/x.h>',
    '#define X y',
    'MACRO(a, b)\nint x;',
    'int x MACRO("a");',
  ])
    assert.equal(mayAddTopLevel(BEFORE, `${BEFORE}${added}\n`), true, added);
});

test('finds assembler code that macros make outside of functions', () => {
  const before = '# 1 "a.c"\nasm(".globl initcall_12_f");\nint f(void) { asm("nop"); return 0; }\n';
  const after = before.replace('_12_', '_13_').replace('nop', 'nop; nop');
  assert.deepEqual(topLevelReasons('a.c', before, after), []);
  const [reason] = topLevelReasons('a.c', before, `${after}\n# 7 "a.c"\n__asm__(".pushsection .x"\n" .popsection");\n`);
  assert.equal(reason?.code, 'asm-added');
  assert.match(reason?.message ?? '', /__asm__\("\.pushsection \.x" " \.popsection"\)/);
  assert.deepEqual(topLevelReasons('a.c', before, `${after} char *s = "{ asm(";\n char q = '{';`), []);
});
