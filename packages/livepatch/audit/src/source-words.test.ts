import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { gapsOf } from './align.ts';
import { changedFiles, SourceIndex } from './source-words.ts';

const PATCH = `--- a/fs/f.c
+++ b/fs/f.c
@@ -1,3 +1,3 @@ int f(void)
 	kept_name();
-	kfree(x);
+	report("too long: %d\\n");
 }
--- a/fs/g.h
+++ b/fs/g.h
@@ -1 +1 @@
-old
+++ plus;
`;

test('collects the names and texts of the lines that a patch changes, file by file', () => {
  const [first, second, ...more] = changedFiles([PATCH]);
  assert.deepEqual([first?.path, second?.path, more.length], ['fs/f.c', 'fs/g.h', 0]);
  assert.deepEqual([...(first?.called ?? [])], ['kfree', 'report']);
  assert.deepEqual(first?.texts, ['too long: %d\\n']);
  assert.ok(!first?.words.has('kept_name'));
  assert.deepEqual([...(second?.words ?? [])], ['old', 'plus']);
});

test('follows macros and inline functions that a unit includes, but not variables', async (t) => {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-audit-'));
  t.after(() => rm(tree, { recursive: true, force: true }));
  const files = {
    'fs/f.c': '#include <linux/a.h>\n#include "own.h"\n\nstatic int helper(int a)\n{\n\treturn deep(a);\n}\n',
    'fs/own.h': '#define report(x) \\\n\tprintk(x)\n#define limit other_limit\n',
    'include/linux/a.h':
      '\nstatic inline void printk(int a)\n{\n\t_printk(a);\n}\n\nint name(int a)\n{\n\treturn secret(a);\n}\n',
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), text);
  }
  const index = await SourceIndex.open(tree, 'fs/f.c');
  const found = index.closure(['name', 'limit'], ['report', 'helper']);
  assert.deepEqual(
    ['_printk', 'deep', 'other_limit', 'secret'].map((name) => found.has(name)),
    [true, true, true, false],
  );
});

test('follows names and texts that macros paste together', async (t) => {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-audit-'));
  t.after(() => rm(tree, { recursive: true, force: true }));
  await mkdir(join(tree, 'fs'));
  const lines = [
    '#define say_func(how, x) print_ ## how(__FILE__, x)',
    '#define say(x) say_func(limited, x)',
    '#define print_limited(x, y) ___ratelimit(x, y)',
    '#define print_once(x, y) once_only(x, y)',
    '#define begin(x) named(&(x)->wait)',
  ];
  await writeFile(join(tree, 'fs/f.c'), `${lines.join('\n')}\n`);
  const closure = (await SourceIndex.open(tree, 'fs/f.c')).closure([], ['say', 'begin']);
  assert.deepEqual(
    ['___ratelimit', '__FILE__', 'once_only'].map((name) => closure.has(name)),
    [true, true, false],
  );
  assert.deepEqual(
    ['&(x)->wait', '&x->other'].map((text) => closure.says(text)),
    [true, false],
  );
});

test('leaves as gaps what has no equal on the other side', () => {
  assert.deepEqual(gapsOf([...'abcd'], [...'abcd']), []);
  assert.deepEqual(gapsOf([...'abcd'], [...'abxd']), [{ before: [2], after: [2] }]);
  assert.deepEqual(gapsOf([...'abcd'], [...'axbcd']), [{ before: [], after: [1] }]);
  assert.deepEqual(gapsOf([...'abcde'], [...'xbcdy']), [
    { before: [0], after: [0] },
    { before: [4], after: [4] },
  ]);
});
