import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { readPatch } from './patch.ts';

const HUNK = '@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n';
const changed = (path: string, hunks = HUNK): string =>
  `diff --git a/${path} b/${path}\nindex 1..2 100644\n--- a/${path}\n+++ b/${path}\n${hunks}`;
const created = (path: string): string =>
  `diff --git a/${path} b/${path}\nnew file mode 100644\nindex 0..2\n--- /dev/null\n+++ b/${path}\n@@ -0,0 +1,2 @@\n+one\n+two\n`;
const removed = (path: string): string =>
  `diff --git a/${path} b/${path}\ndeleted file mode 100644\nindex 2..0\n--- a/${path}\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n`;
const renamed = (from: string, to: string): string =>
  `diff --git a/${from} b/${to}\nsimilarity index 100%\nrename from ${from}\nrename to ${to}\n`;
const binary = (path: string): string =>
  `diff --git a/${path} b/${path}\nnew file mode 100644\nindex 0..1\nBinary files /dev/null and b/${path} differ\n`;
const literal = (path: string): string =>
  `diff --git a/${path} b/${path}\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmV+b00saA000\n\nliteral 0\nHcmV?d00001\n\n`;
const CODE = changed('kernel/fork.c');

test('leaves out files that no kernel is made of, whatever happens to them, and names them', () => {
  const rest = [
    changed('Documentation/admin-guide/x.rst'),
    created('Documentation/ABI/testing/x'),
    renamed('Documentation/a', 'Documentation/b'),
    binary('Documentation/x.png'),
    literal('Documentation/y.png'),
    changed('MAINTAINERS'),
    removed('tools/perf/x.c'),
    created('tools/testing/selftests/net/x.sh'),
    changed('samples/bpf/x.c'),
    changed('drivers/net/.gitignore'),
    'diff --git a/kernel/exit.c b/kernel/exit.c\nold mode 100755\nnew mode 100644\n',
    'diff --git "a/Documentation/f\\303\\266" "b/Documentation/f\\303\\266"\nnew file mode 100644\nindex 0..0\n',
    '--- a/Documentation/z\t2026-01-01\n+++ b/Documentation/z\t2026-01-01\n@@ -0,0 +1 @@\n+z\n',
    'Only in b/Documentation/new: file\n',
  ].join('');
  for (const patch of [`${CODE}${rest}`, `${rest}${CODE}`]) {
    const content = readPatch('F', patch);
    assert.deepEqual(content.files, ['kernel/fork.c']);
    assert.equal(content.patch, `--- a/kernel/fork.c\n+++ b/kernel/fork.c\n${HUNK}`);
    assert.deepEqual(
      content.leftOut.map(({ path, why }) => `${path} ${why}`),
      [
        'Documentation/ABI/testing/x documentation',
        'Documentation/a documentation',
        'Documentation/admin-guide/x.rst documentation',
        'Documentation/b documentation',
        'Documentation/f\\303\\266 documentation',
        'Documentation/new/file documentation',
        'Documentation/x.png documentation',
        'Documentation/y.png documentation',
        'Documentation/z documentation',
        'MAINTAINERS documentation',
        'drivers/net/.gitignore documentation',
        'kernel/exit.c mode-only',
        'samples/bpf/x.c samples',
        'tools/perf/x.c tools',
        'tools/testing/selftests/net/x.sh tools',
      ],
    );
  }
});

test('refuses made, removed, renamed and binary files that may be code, and names all of them', () => {
  const patch = [
    CODE,
    created('kernel/new.c'),
    removed('fs/old.h'),
    renamed('mm/a.c', 'mm/b.c'),
    renamed('Documentation/c', 'mm/c.c'),
    binary('lib/x.bin'),
    changed('drivers/net/Makefile'),
    changed('Makefile'),
  ].join('');
  assert.throws(
    () => readPatch('F', patch),
    (error) => {
      assert.equal(errorCode(error), 'source-unsupported');
      const said = String(error);
      for (const word of ['creates kernel/new.c', 'removes fs/old.h', 'mm/a.c -> mm/b.c', 'Documentation/c -> mm/c.c'])
        assert.ok(said.includes(word), said);
      assert.match(said, /binary file lib\/x\.bin|creates lib\/x\.bin/);
      assert.match(said, /built from in drivers\/net\/Makefile.*built from in Makefile/);
      assert.match(String((error as { hint?: string }).hint), /--path/);
      return true;
    },
  );
  // diff -N names a file that it makes on both sides.
  const made = '--- a/kernel/new.c\t1970-01-01\n+++ b/kernel/new.c\t2026-01-01\n@@ -0,0 +1 @@\n+z\n';
  for (const text of [
    made,
    'Only in b/kernel: new.c\n',
    'Files a/kernel/new.c and b/kernel/new.c differ\n',
    'GIT binary patch\n',
  ])
    assert.throws(() => readPatch('F', `${CODE}${text}`), { code: 'source-unsupported' }, text);
});

test('takes the chosen files and folders, names the others, and rejects a choice without a match', () => {
  const patch = `${CODE}${changed('kernel/sched/core.c')}${created('mm/new.c')}${changed('mm/mmap.c')}`;
  const chosen = readPatch('F', patch, ['kernel/sched', 'mm/mmap.c']);
  assert.deepEqual(chosen.files, ['kernel/sched/core.c', 'mm/mmap.c']);
  assert.deepEqual(chosen.leftOut, [
    { path: 'kernel/fork.c', why: 'not-chosen' },
    { path: 'mm/new.c', why: 'not-chosen' },
  ]);
  assert.throws(() => readPatch('F', patch, ['kernel/fork']), { code: 'fix-empty', message: /kernel\/fork/ });
  assert.throws(() => readPatch('F', patch, ['mm']), { code: 'source-unsupported' });
  // Unread is no part of it, chosen or not.
  assert.throws(() => readPatch('F', `${patch}+more\n`, ['kernel/sched']), { code: 'fix-garbage' });
});

test('rejects a patch without kernel code as empty, and names its files', () => {
  assert.throws(() => readPatch('F', `${changed('Documentation/x.rst')}${created('tools/x.c')}`), {
    code: 'fix-empty',
    message: /Documentation\/x\.rst \(documentation\), tools\/x\.c \(tools\)/,
  });
});

test('leaves out a Kconfig change if its hunks show that only help text changes', () => {
  const kconfig = (hunk: string): string => `${CODE}${changed('drivers/net/Kconfig', hunk)}`;
  const help = [
    '@@ -1,5 +1,5 @@\n config X\n \tbool "x"\n \thelp\n-\t  Old text.\n+\t  New text.\n \n',
    '@@ -1,4 +1,5 @@\n \thelp\n \t  Text\n+\n+\t  more;\n-\t  less.\n \n',
    '@@ -1,3 +1,4 @@\n   help\n     Text.\n+      depends on more\n \n',
  ];
  for (const hunk of help) {
    const { leftOut } = readPatch('F', kconfig(hunk));
    assert.deepEqual(leftOut, [{ path: 'drivers/net/Kconfig', why: 'help-text' }], hunk);
  }
  const more = [
    // Attributes; the help is not in the hunk; the text ends before; a second hunk; the text that goes leaves an
    // attribute in its place.
    '@@ -1,3 +1,3 @@\n config X\n-\tbool "x"\n+\ttristate "x"\n \thelp\n',
    '@@ -1,3 +1,3 @@\n \t  Text\n-\t  Old text.\n+\t  New text.\n \n',
    '@@ -1,4 +1,5 @@\n \thelp\n \t  Text\n \n+\tselect Y\n \n',
    '@@ -1,4 +1,5 @@\n \thelp\n \t  Text\n \n+config Y\n \n',
    '@@ -1,3 +1,3 @@\n \thelp\n-\t  a\n+\t  b\n \n@@ -9,1 +9,2 @@\n \t  Text\n+\t  more\n',
    '@@ -1,3 +1,2 @@\n   help\n-    a\n   depends on Y\n',
    '@@ -1,3 +1,2 @@\n \tbool\n-\thelp\n-\t  a\n \tdepends on Y\n'.replace('-1,3 +1,2', '-1,4 +1,2'),
  ];
  for (const hunk of more)
    assert.throws(() => readPatch('F', kconfig(hunk)), { code: 'source-unsupported', message: /Kconfig/ }, hunk);
  assert.throws(() => readPatch('F', `${CODE}${changed('drivers/net/Makefile', help[0])}`), {
    code: 'source-unsupported',
  });
});
