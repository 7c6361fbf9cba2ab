import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { readPatch } from './patch.ts';
import { fileOfNames } from './paths.ts';

test('finds the file if the names leave no doubt about the top of the tree', () => {
  const cases: readonly [string, string, string][] = [
    ['a/kernel/fork.c', 'b/kernel/fork.c', 'kernel/fork.c'],
    ['i/kernel/fork.c', 'w/kernel/fork.c', 'kernel/fork.c'],
    ['a/own/unit.c', 'b/own/unit.c', 'own/unit.c'],
    // -p0
    ['kernel/fork.c', 'kernel/fork.c', 'kernel/fork.c'],
    ['./kernel/fork.c', './kernel/fork.c', 'kernel/fork.c'],
    ['drivers/net/tun.c', 'drivers/net/tun.c', 'drivers/net/tun.c'],
    ['arch/x86/kernel/ptrace.c', 'arch/x86/kernel/ptrace.c', 'arch/x86/kernel/ptrace.c'],
    ['Makefile', 'Makefile', 'Makefile'],
    // copies
    ['kernel/fork.c.orig', 'kernel/fork.c', 'kernel/fork.c'],
    ['kernel/fork.c~', 'kernel/fork.c', 'kernel/fork.c'],
    ['a/kernel/fork.c.old', 'b/kernel/fork.c', 'kernel/fork.c'],
    ['kernel/fork.c', 'kernel/fork.c.new', 'kernel/fork.c'],
    ['linux-6.1/kernel/fork.c.orig', 'linux-6.1/kernel/fork.c', 'kernel/fork.c'],
    // unequal depths and folders
    ['a/kernel/fork.c', 'kernel/fork.c', 'kernel/fork.c'],
    ['a/kernel/fork.c', 'fork.c', 'kernel/fork.c'],
    ['linux-6.1/fs/open.c', 'linux-6.1.new/fs/open.c', 'fs/open.c'],
    ['linux-6.1/fs/open.c', 'linux-6.1/fs/open.c', 'fs/open.c'],
    ['old/fs/open.c', 'new/fs/open.c', 'fs/open.c'],
    ['a/linux-6.1/fs/open.c', 'b/linux-6.1/fs/open.c', 'fs/open.c'],
    ['linux-source-6.1/drivers/net/tun.c', 'drivers/net/tun.c', 'drivers/net/tun.c'],
  ];
  for (const [from, to, path] of cases)
    assert.deepEqual(fileOfNames(from, to), { kind: 'path', path }, `${from} ${to}`);
});

test('does not guess the top of the tree, and detects two files and a reversed patch', () => {
  const cases: readonly [string, string, string][] = [
    // Made inside arch/: kernel/ptrace.c is another file.
    ['x86/kernel/ptrace.c', 'x86/kernel/ptrace.c', 'unclear'],
    ['fork.c', 'fork.c', 'unclear'],
    ['fork.c.orig', 'fork.c', 'unclear'],
    ['own/unit.c', 'own/unit.c', 'unclear'],
    ['a/drivers/net/tun.c', 'b/net/tun.c', 'unclear'],
    ['kernel/fork.c', 'kernel/fork.c.orig', 'unclear'],
    ['a/kernel/fork.c', 'b/kernel/exit.c', 'renamed'],
    ['kernel/fork.c.orig', 'kernel/exit.c', 'renamed'],
    ['/usr/src/linux/kernel/fork.c', '/usr/src/linux/kernel/fork.c', 'unsafe'],
    ['a/../kernel/fork.c', 'b/../kernel/fork.c', 'unsafe'],
    ['a//kernel/fork.c', 'b//kernel/fork.c', 'unsafe'],
    ['a/kernel/fork.c', '../kernel/fork.c', 'unsafe'],
    ['a/kernel/', 'b/kernel/', 'unsafe'],
  ];
  for (const [from, to, kind] of cases) assert.equal(fileOfNames(from, to).kind, kind, `${from} ${to}`);
});

test('drops times from file headers, and says what a patch without headers needs', () => {
  const hunk = '@@ -1 +1 @@\n-a\n+b\n';
  for (const time of [
    '\t2026-01-02 03:04:05.0 +0100',
    ' 2026-01-02 03:04:05',
    ' Fri Jan  2 03:04:05 2026',
    '\t(revision 2)',
    ' ',
  ])
    assert.deepEqual(readPatch('F', `--- kernel/fork.c${time}\n+++ kernel/fork.c${time}\n${hunk}`).files, [
      'kernel/fork.c',
    ]);
  assert.throws(
    () => readPatch('F', `--- x86/kernel/ptrace.c\n+++ x86/kernel/ptrace.c\n${hunk}`),
    (error) =>
      errorCode(error) === 'fix-garbage' &&
      /line 1 .*not certain/.test(String(error)) &&
      /--- a\/kernel/.test(String((error as { hint?: string }).hint)),
  );
  assert.throws(() => readPatch('F', `--- a/kernel/f\xF6rk.c\n+++ b/kernel/f\xF6rk.c\n${hunk}`), {
    code: 'fix-unsafe-path',
  });
});
