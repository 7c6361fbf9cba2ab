import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { markLines, parseChanges } from './lines.ts';

/** The number that the compiler gives to each `MARK` of a text. */
async function numbers(before: string, after: string): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-lines-'));
  try {
    await writeFile(join(directory, 'a'), before);
    await writeFile(join(directory, 'b'), after);
    const diff = await run('diff', [join(directory, 'a'), join(directory, 'b')]);
    const marked = markLines('dir/unit.c', after, parseChanges(diff.stdout.toString()));
    const result = await run('gcc', ['-E', '-P', '-x', 'c', '-'], { stdin: marked });
    return [...result.stdout.toString().matchAll(/MARK_(\w+) (\d+)/g)].map(([, name, line]) => `${name} ${line}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const BEFORE = `int a(void)
{
	return 1;
}
int b(void)
{
	MARK_b __LINE__;
}
/* a comment;
 * that ends a line so;
 */
int c(void)
{
	MARK_c __LINE__;
}
`;

test('keeps line numbers behind an added, a removed and a changed line', async () => {
  const unchanged = await numbers(BEFORE, BEFORE);
  assert.deepEqual(unchanged, ['b 7', 'c 14']);
  assert.deepEqual(
    await numbers(BEFORE, BEFORE.replace('\treturn 1;\n', '\tcall();\n\tmore();\n\treturn 1;\n')),
    unchanged,
  );
  assert.deepEqual(await numbers(BEFORE, BEFORE.replace('\treturn 1;\n', '')), unchanged);
  assert.deepEqual(await numbers(BEFORE, BEFORE.replace('int b(void)', 'int b(long x,\n\tlong y)')), unchanged);
  assert.deepEqual(await numbers(BEFORE, BEFORE.replace('/* a comment;', '/* a comment;\n * longer;')), unchanged);
});

test('corrects the line count again if the mark would stand in a branch that is left out', async () => {
  const before = `int one;
#ifdef NOT_SET
int two;
# ifdef NEITHER
int three;
# endif
int four;
#else
int a(void) { MARK_a __LINE__; }
#endif
/* a comment */
int b(void) { MARK_b __LINE__; }
`;
  const unchanged = await numbers(before, before);
  assert.deepEqual(unchanged, ['a 9', 'b 12']);
  assert.deepEqual(await numbers(before, before.replace('int one;\n', 'int one;\nint more;\n')), unchanged);
  // Behind a definition that is not over yet, as soon as it is.
  const opened = before.replace('int two;\n', '').replace('#ifdef NOT_SET\n', 'int more(void)\n{ }\n#ifdef NOT_SET\n');
  assert.deepEqual(await numbers(before, opened), unchanged);
});

test('does not correct the line count inside the arguments of a macro', async () => {
  const before = `#define event(name, body) name body
event(one,
	first;
	second;
);
int b(void) { MARK_b __LINE__; }
`;
  const after = before.replace('first;', 'first;\n\tmore;');
  assert.deepEqual(await numbers(before, after), await numbers(before, before));
  assert.match(markLines(undefined, after, parseChanges('3a4\n')), /\tsecond;\n\);\n#line 6\nint b/);
  // Branches that open one each are over at the end of the function.
  const branches = 'int more;\n#ifdef A\n\tif (a(\n#else\n\tif (b(\n#endif\n1)) {\n\t}\n}\nint c;\n';
  assert.match(markLines(undefined, branches, parseChanges('0a1\n')), /^int more;\n#line 1\n#ifdef A\n/);
  assert.match(markLines(undefined, branches.slice(10), parseChanges('1c1\n')), /\n\}\n#line 9\nint c;/);
});

test('keeps the name by which others include a text', () => {
  assert.equal(
    markLines(undefined, 'int a;\nint b;\nint c;\n', parseChanges('1a2\n')),
    'int a;\nint b;\n#line 2\nint c;\n',
  );
});

test('shows the name in the tree for __FILE__', () => {
  assert.match(markLines('dir/unit.c', 'x\n', []), /^#line 1 "dir\/unit.c"\nx\n$/);
});
