import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { type PatchContent, readPatch } from './patch.ts';

const HUNK = '@@ -1,3 +1,3 @@ some_function\n one\n-two\n+2\n three\n';
const file = (path: string, hunks = HUNK): string => `--- a/${path}\n+++ b/${path}\n${hunks}`;
const git = (path: string, hunks = HUNK): string =>
  `diff --git a/${path} b/${path}\nindex 0123456..789abcd 100644\n${file(path, hunks)}`;
const A = git('kernel/fork.c');
const B = git('mm/mmap.c');
const MAIL =
  'From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A B <a@b.example>\nSubject: [PATCH] fork: mend\n\n';

const read = (patch: string, chosen?: readonly string[]): PatchContent => readPatch('F', patch, chosen);

function refuses(patch: string, code: string, ...words: RegExp[]): void {
  assert.throws(
    () => read(patch),
    (error) => {
      assert.equal(errorCode(error), code, `${String(error)}\n${patch}`);
      for (const word of words) assert.match(`${String(error)} ${(error as { hint?: string }).hint}`, word, patch);
      return true;
    },
    patch,
  );
}

test('rejects what looks like part of a change and is in no counted hunk, with its line', () => {
  const later = '@@ -9,2 +9,3 @@\n nine\n+x\n ten\n';
  const cases: readonly [string, number][] = [
    // Hunks behind a blank line, a remark, a signature.
    [`${A}\n${later}`, 11],
    [`${A}and this one:\n${later}`, 11],
    [`${A}-- \n2.39.5\n${later}`, 12],
    [`${A}\n${B}\n\n${later}`, 22],
    // Lines beyond the count, directly behind and further on.
    [`${A}+more\n`, 10],
    [`${A}-less\n`, 10],
    [`${A} context\n`, 10],
    [`${A}\tcontext\n`, 10],
    [`${A}\n+more\n`, 11],
    [`${A}---\n`, 10],
    [`${A}Date: then\n+\tmore();\n`, 11],
    [`${A}-- \n+more\n`, 11],
    [`${A}--\n- more\n`, 11],
    [`${A}\\ No newline at end of file\n\\ No newline at end of file\n`, 11],
    // Between the header of a file and its hunks.
    [A.replace('+++ b/kernel/fork.c\n', '+++ b/kernel/fork.c\n\n'), 3],
    [A.replace('+++ b/kernel/fork.c\n', ''), 3],
    [A.replace('--- a/kernel/fork.c\n', ''), 3],
    [A.replace(/--- .*\n.*\n/, ''), 3],
    [A.replace('@@ -1,3 +1,3 @@', '@ -1,3 +1,3 @'), 3],
    [A.replace('@@ -1,3 +1,3 @@', '@@ -1,3, +1,3 @@'), 5],
    [A.replace('@@ -1,3 +1,3 @@', '@@-1,3 +1,3@@'), 3],
    // A header alone, in the middle and last, and one for another file.
    [`diff --git a/mm/mmap.c b/mm/mmap.c\nindex 1..2 100644\n${A}`, 1],
    [`${A}diff --git a/mm/mmap.c b/mm/mmap.c\nindex 1..2 100644\n`, 10],
    [`diff --git a/mm/mmap.c b/mm/mmap.c\n${file('kernel/fork.c')}`, 2],
    [`${A}diff -urN a/mm/mmap.c b/mm/mmap.c\n`, 10],
    [`Index: linux/mm/mmap.c\n=======\n${A}`, 1],
    // In front of the first file.
    [`${HUNK}${A}`, 1],
    [`a remark\n${HUNK}${A}`, 2],
    [`${MAIL}text\n${HUNK}---\n${A}`, 6],
    [`-\tkfree(p);\n+\tkvfree(p);\n\n${A}`, 1],
    [`+++ b/kernel/fork.c\n${A}`, 1],
    [`\t--- a/kernel/fork.c\n${A}`, 1],
    [`--- a/kernel/exit.c\n${A}`, 1],
    // Other formats.
    [`${A}*** a/mm/mmap.c\n--- b/mm/mmap.c\n`, 10],
    [`${A}12c12\n< two\n---\n> evil\n`, 10],
    [`${A}! two\n`, 10],
    [`${A}12d\n`, 10],
  ];
  for (const [patch, line] of cases) refuses(patch, 'fix-garbage', new RegExp(`line ${line} of`));
});

/** Lines of a text that are neither headers of files nor a signature's, and change something. */
function changedLines(text: string): string[] {
  const lines = text.split('\n');
  const isHeader = (at: number): boolean =>
    [at - 1, at].some((first) => lines[first]?.startsWith('--- ') && lines[first + 1]?.startsWith('+++ '));
  return lines.filter((line, at) => /^[-+]/.test(line) && line !== '-- ' && !isHeader(at)).sort();
}

test('loses no changed line under insertion, removal, doubling and truncation', () => {
  const two = '@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n@@ -11,3 +11,2 @@\n eins\n-zwei\n drei\n';
  const put = [
    '',
    'text',
    '+x',
    '-x',
    ' x',
    '@@ -1 +1 @@',
    '-- ',
    '---',
    'From: x',
    'commit 0123456789',
    '--- a/lib/x.c',
  ].concat([
    '+++ b/lib/x.c',
    'diff --git a/lib/x.c b/lib/x.c',
    'Index: x',
    '\\ No newline at end of file',
    'new file mode 100644',
  ]);
  let accepted = 0;
  for (const sound of [
    `${git('kernel/fork.c', two)}${git('mm/mmap.c', two)}`,
    `${file('kernel/fork.c', two)}${file('mm/mmap.c', two)}`,
  ]) {
    const lines = sound.trimEnd().split('\n');
    // Behind the first line: before it is text.
    for (let at = 1; at <= lines.length; at++) {
      const taken = [1, 2, 3, 4, 5].map((count) => lines.toSpliced(at, count));
      for (const changed of [
        ...put.map((line) => lines.toSpliced(at, 0, line)),
        ...taken,
        lines.slice(0, at),
        lines.toSpliced(at, 0, lines[at] ?? ''),
      ]) {
        const text = `${changed.join('\n')}\n`;
        let patch: string;
        try {
          patch = read(text).patch;
        } catch (error) {
          assert.match(errorCode(error) ?? '', /^(?:fix-|source-unsupported)/);
          continue;
        }
        accepted++;
        assert.deepEqual(changedLines(patch), changedLines(text), text);
      }
    }
  }
  assert.ok(accepted > 100, `${accepted}`);
});

test('rejects combined diffs, alone and beside plain ones, and says how to get a plain one', () => {
  const combined =
    'diff --cc kernel/fork.c\nindex 1,2..3\n--- a/kernel/fork.c\n+++ b/kernel/fork.c\n@@@ -1,3 -1,3 +1,3 @@@\n  one\n- two\n -2\n++zwei\n  three\n';
  for (const patch of [combined, `${A}${combined}`, `${combined}${A}`, combined.replace('--cc', '--combined')])
    refuses(patch, 'fix-garbage', /combined diff/, /--first-parent/);
  refuses(`${A}@@@ -1,3 -1,3 +1,3 @@@\n`, 'fix-garbage', /line 10/);
});

test('rejects a hunk without a line of the file around it, whose place nothing confirms', () => {
  refuses(git('kernel/fork.c', '@@ -4,0 +5 @@\n+x\n'), 'fix-garbage', /line 5/, /-U3/);
  assert.equal(read(`${A}${git('Documentation/x', '@@ -4,0 +5 @@\n+x\n')}`).files.length, 1);
  assert.deepEqual(read(git('kernel/fork.c', '@@ -4 +4 @@\n-y\n+x\n')).files, ['kernel/fork.c']);
});

test('accepts what mails, commits, quilt, Subversion and diff put around hunks', () => {
  const both = `${file('kernel/fork.c')}${file('mm/mmap.c')}`;
  const message =
    'A list:\n - one\n- two;\n+ three\n\n--- a\n    diff --git a/x b/x\n    --- a/x.c\n    +++ b/x.c\n    @@ -1,2 +1,2 @@\n    -old\n    +new\n\n@@\nexpression E;\n@@\n-\tkfree(E);\n+\tkvfree(E);\n\n> quoted\n-1 is returned\n';
  const stat =
    '---\n kernel/fork.c | 3 +-\n mm/mmap.c     | 2 --\n 2 files changed, 1 insertion(+)\n\nv2:\n- a; b;\n\n';
  const texts = [
    `${A}${B}`,
    `${A}\n${B}\n\n`,
    `${MAIL}${message}${stat}${A}${B}-- \n2.39.5\n\n`,
    `${MAIL}${message}${stat}${A}-- \n2.39.5 (Apple Git-154)\n\n${MAIL}${message}${stat}${B}-- \n2.39.5\n\n`,
    `From: a\nSubject: b\n\n${message}---\n${A}From: a\nSubject: c\n\n${message}---\n${B}`,
    `${A}\nbase-commit: 0123456789\nprerequisite-patch-id: 0123\n-- \n2.39.5\n${B}--\nSigned by me\n  at home\n`,
    `commit 0123456789012345678901234567890123456789\nAuthor: a\nDate:   b\n\n    fork: mend\n\n    - a list\n\n${A}\ncommit 1123456789012345678901234567890123456789\nAuthor: a\n\n    mmap\n    + x\n\n${B}`,
    `Description: mend\n - a\n+ b\nOrigin: upstream\n---\n${both}`,
    `a remark\n- a list of it\n-1 and -EINVAL\n${both}`,
    `Index: linux-6.1/kernel/fork.c\n${'='.repeat(67)}\n${file('kernel/fork.c').replaceAll(/[ab]\/k/g, 'linux-6.1/k')}\nIndex: mm/mmap.c\n${'='.repeat(67)}\n--- mm/mmap.c\t(revision 12)\n+++ mm/mmap.c\t(working copy)\n${HUNK}`,
    `diff -urNp a/kernel/fork.c b/kernel/fork.c\n${file('kernel/fork.c')}diff -urNp a/mm/mmap.c b/mm/mmap.c\n--- a/mm/mmap.c\t2026-01-02 03:04:05.000000000 +0100\n+++ b/mm/mmap.c\t2026-01-02 03:04:06.000000000 +0100\n${HUNK}`,
    `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n${both}-- \nme\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n`,
  ];
  for (const text of texts) assert.equal(read(text).patch, both, text);
  // A file twice, as in two patches of a series; no end of the last line; mail that dropped spaces.
  assert.equal(read(`${A}${A}`).patch, `${file('kernel/fork.c')}${file('kernel/fork.c')}`);
  const last = '@@ -1,2 +1,2 @@\n one\n-two\n\\ No newline at end of file\n+2\n\\ No newline at end of file\n';
  assert.equal(read(git('kernel/fork.c', last)).patch, file('kernel/fork.c', last));
  assert.equal(
    read(git('kernel/fork.c', '@@ -1,2 +1,2 @@\n\n-two\n+2\n')).patch,
    file('kernel/fork.c', '@@ -1,2 +1,2 @@\n \n-two\n+2\n'),
  );
  assert.equal(read(`${A}${B}`.replace(/\n$/, '')).patch, both);
});

test('rejects a mail whose transfer encoding changes the lines', () => {
  for (const encoding of ['quoted-printable', 'base64'])
    refuses(`${MAIL.trimEnd()}\nContent-Transfer-Encoding: ${encoding}\n\n${A}`, 'fix-garbage', /line 4/, /b4 am/);
  assert.equal(read(`${MAIL.trimEnd()}\nContent-Transfer-Encoding: 8bit\n\n${A}`).files.length, 1);
});

test('reads CR LF if every line has it and says so; rejects a mix, NUL bytes, and replaced bytes', () => {
  const dos = A.replaceAll('\n', '\r\n');
  const content = read(dos);
  assert.equal(content.patch, file('kernel/fork.c'));
  assert.match(content.notes.join(), /CR LF/);
  assert.equal(read(dos.slice(0, -2)).patch, file('kernel/fork.c'));
  assert.deepEqual(read(A).notes, []);
  refuses(`${dos}${B}`, 'fix-garbage', /line 1 .*line 10 with LF/, /dos2unix/);
  refuses(A.replace('+2\n', '+2\r\n'), 'fix-garbage', /line 8 .*line 1 with LF/);
  refuses(A.replace('+2', '+2\0'), 'fix-garbage', /line 8 .*NUL/);
  refuses(Buffer.from(A, 'utf16le').toString('latin1'), 'fix-garbage', /UTF-16/);
  refuses(A.replace('+2', '+"\xEF\xBF\xBD"'), 'fix-garbage', /kernel\/fork\.c.*lost/);
  assert.equal(read(`\xEF\xBB\xBF${file('kernel/fork.c')}`).patch, file('kernel/fork.c'));
  assert.equal(read(A.replace('+2', '+"\xF6\xFF"')).patch, file('kernel/fork.c').replace('+2', '+"\xF6\xFF"'));
});
