import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { limitedRun, run, runOk } from '@kmend/base/node';
import { cpuMs, describeFuzz, fuzz, mutateBytes } from '@kmend/base/testing';
import { applyFixes } from '../source/apply.ts';
import { importFromPatch } from './import.ts';
import type { Fix } from './model.ts';
import { readPatch } from './patch.ts';
import { makeFix } from './store.ts';

const plainPatch = (patch: string): string => readPatch('F', patch).patch;
const filesOfPatch = (patch: string): readonly string[] => readPatch('F', patch).files;
const edges = { run: limitedRun, signal: new AbortController().signal };
const SOUND = '--- a/dir/unit.c\n+++ b/dir/unit.c\n@@ -1,3 +1,3 @@ some_function\n one\n-two\n+2\n three\n';

function fixOf(patch: string): Fix {
  const words = { id: 'F', title: 't', severity: 'low', hardware: false } as const;
  return makeFix(words, { kind: 'patch', file: 'f.patch' }, patch);
}

interface World {
  readonly directory: string;
  readonly tree: string;
  readonly scratch: string;
  /** Every file below the test's own folder, with its content. */
  files(): Promise<Record<string, string>>;
}

async function world(t: TestContext): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-hostile-'));
  t.after(() => rm(directory, { recursive: true }));
  const tree = join(directory, 'tree');
  const scratch = join(directory, 'scratch');
  await mkdir(join(tree, 'dir'), { recursive: true });
  await mkdir(scratch);
  await writeFile(join(directory, 'secret'), 'one\ntwo\nthree\n');
  await writeFile(join(tree, 'dir', 'unit.c'), 'one\ntwo\nthree\n');
  await writeFile(join(tree, 'dir', 'other.c'), 'one\ntwo\nthree\n');
  const files = async (): Promise<Record<string, string>> => {
    const found: Record<string, string> = {};
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isDirectory()) found[path.slice(directory.length + 1)] = await readFile(path, 'utf8');
    }
    return found;
  };
  return { directory, tree, scratch, files };
}

test('rejects other formats, hidden files and hunks without a header on either side of a sound patch', async (t) => {
  const { tree, scratch, directory, files } = await world(t);
  const hunk = '@@ -1,3 +1,3 @@\n one\n-two\n+evil\n three\n';
  const indented = (path: string): string => ` --- a/${path}\n +++ b/${path}\n${hunk.replaceAll(/^(?=.)/gm, ' ')}`;
  const more = [
    // An ed script, by which old versions of patch run commands.
    `diff -e a/dir/other.c b/dir/other.c\n--- a/dir/other.c\n+++ b/dir/other.c\n1c\nevil\n.\n!touch ${directory}/run\n`,
    `Index: ../secret\n2c2\n< two\n---\n> evil\n`,
    `Index: dir/other.c\n2c2\n< two\n---\n> evil\n`,
    `*** a/dir/other.c\tx\n--- b/dir/other.c\tx\n***************\n*** 1,3 ****\n  one\n! two\n  three\n--- 1,3 ----\n  one\n! evil\n  three\n`,
    indented('dir/other.c'),
    indented('../../secret'),
    `--- a/dir/other.c\n+++ b/dir/other.c\n\n${hunk}`,
    `--- ${directory}/secret\n+++ ${directory}/secret\n\n${hunk}`,
  ];
  const before = await files();
  for (const text of more) {
    for (const patch of [`${SOUND}${text}`, `${text}${SOUND}`])
      assert.throws(() => fixOf(patch), { code: 'fix-garbage' }, text);
  }
  assert.deepEqual(await files(), before);
  // What patch(1) sees has nothing but the hunks.
  const talkative = `From: a\nSubject: b\n\n!touch ${directory}/run\n---\n${SOUND}-- \n!touch ${directory}/run\n`;
  const [changed] = await applyFixes(edges, tree, [fixOf(talkative)], scratch);
  assert.deepEqual(
    changed?.versions.map(({ text }) => text),
    ['one\n2\nthree\n'],
  );
  assert.equal(fixOf(talkative).patch, SOUND);
});

test('refuses links, new files and renames that git describes', () => {
  const link =
    'diff --git a/dir/link b/dir/link\nnew file mode 120000\n--- /dev/null\n+++ b/dir/link\n@@ -0,0 +1 @@\n+../../secret\n\\ No newline at end of file\n';
  const empty = 'diff --git a/dir/new.c b/dir/new.c\nnew file mode 100644\nindex 0..0\n';
  const renamed =
    'diff --git a/dir/unit.c b/dir/moved.c\nsimilarity index 100%\nrename from dir/unit.c\nrename to dir/moved.c\n';
  for (const text of [link, empty, renamed]) {
    assert.throws(() => filesOfPatch(`${text}${SOUND}`), { code: 'source-unsupported' }, text);
  }
});

test('takes as many lines for a hunk as it announces, and accepts the spaces that mail drops', () => {
  const signed = `From: a\nSubject: b\n\n---\n dir/unit.c | 2 +-\n\n${SOUND}-- \n2.39.5\n`;
  assert.equal(plainPatch(signed), SOUND);
  const blank = '--- a/u.c\n+++ b/u.c\n@@ -1,3 +1,3 @@\n one\n\n-two\n+2\n\\ No newline at end of file\n';
  assert.equal(plainPatch(blank), blank.replace('\n\n', '\n \n'));
  // A removed line that looks like a header is none.
  const tricky = '--- a/u.c\n+++ b/u.c\n@@ -1,3 +1,1 @@\n one\n--- a/../../x\n-+++ b/../../x\n';
  assert.deepEqual(filesOfPatch(tricky), ['u.c']);
  for (const broken of [
    SOUND.replace('@@ -1,3', '@@ -1,4'),
    SOUND.replace(' three\n', ''),
    SOUND.replace('-two', 'two'),
    SOUND.replace('-1,3 +1,3', '-1,999999999 +1,999999999'),
  ]) {
    assert.throws(() => filesOfPatch(broken), { code: 'fix-garbage' }, broken);
  }
});

test('bounds huge patches: many hunks, lines without an end, more bytes than a patch has', async (t) => {
  const { directory, tree, scratch } = await world(t);
  const hunks = '@@ -1,1 +1,1 @@\n-no such line\n+x\n'.repeat(100_000);
  const started = performance.now();
  const many = fixOf(`--- a/dir/unit.c\n+++ b/dir/unit.c\n${hunks}`);
  await assert.rejects(applyFixes(edges, tree, [many], scratch), (error) =>
    ['patch-does-not-apply', 'tool-timeout'].includes(errorCode(error) ?? ''),
  );
  assert.ok(performance.now() - started < 90_000);
  const long = SOUND.replace('+2', `+${'lock_'.repeat(100_000)}`);
  assert.throws(() => fixOf(long), { code: 'fix-garbage' });
  assert.throws(() => fixOf(`${SOUND}${'\n'.repeat(5 << 20)}`), { code: 'fix-garbage' });
  const words = { id: 'F', severity: 'low', hardware: false } as const;
  const huge = join(directory, 'huge.patch');
  await runOk(run, 'truncate', ['--size=100G', huge]);
  const pipe = join(directory, 'pipe');
  await runOk(run, 'mkfifo', [pipe]);
  for (const path of [huge, '/dev/zero', pipe, directory]) {
    await assert.rejects(importFromPatch(words, path), { code: 'fix-without-origin' }, path);
  }
});

test('reads hostile slow texts in linear time', () => {
  const width = 9_900;
  const lines = [
    `From ${'@'.repeat(width)}`,
    `+++ ${'/'.repeat(width)}`,
    `+++ ${'a/'.repeat(width / 2)}`,
    `--- a${' '.repeat(width)}b`,
    `diff --git ${'"'.repeat(width)}`,
    `-${'; '.repeat(width / 2)}x`,
    `${' '.repeat(width)}x`,
    `Only in ${': '.repeat(width / 2)}`,
    `Binary files ${' and '.repeat(width / 5)}`,
  ];
  const headers = `--- a/kernel/fork.c${' '.repeat(width)}x\n+++ b/kernel/fork.c\n@@ -1 +1 @@\n-a\n+b\n`;
  for (const text of [...lines.map((line) => `${line}\n`.repeat(200)), headers.repeat(200)]) {
    const started = cpuMs();
    for (const patch of [text, `From: a\n${text}`, `${SOUND}${text}`]) {
      try {
        readPatch('F', patch);
      } catch (error) {
        assert.match(errorCode(error) ?? '', /^(?:fix-|source-unsupported)/);
        assert.ok(String(error).length < 4000);
      }
    }
    assert.ok(cpuMs() - started < 5000, text.slice(0, 40));
  }
});

test('changes only the files that mutated patches name, or refuses them', async (t) => {
  const { tree, scratch, files, directory } = await world(t);
  const sound = Buffer.from(`diff --git a/dir/unit.c b/dir/unit.c\n${SOUND}${SOUND.replaceAll('unit', 'other')}`);
  const before = await files();
  const mutated = (random: Parameters<typeof mutateBytes>[0]): string => {
    const bytes = Buffer.from(sound);
    for (let change = random.below(4); change >= 0; change--) mutateBytes(random, bytes);
    return bytes.toString('latin1');
  };
  const parsed = await fuzz({
    name: 'readPatch',
    cases: 20_000,
    make: mutated,
    attempt: (patch) => assert.deepEqual(filesOfPatch(plainPatch(patch)), filesOfPatch(patch)),
  });
  t.diagnostic(describeFuzz(parsed));
  assert.ok(parsed.cases >= 2000 && parsed.accepted > 100);
  const applied = await fuzz({
    name: 'applyFixes',
    cases: 500,
    budgetMs: 6000,
    caseMs: 40_000,
    make: mutated,
    attempt: (patch) => applyFixes(edges, tree, [fixOf(patch)], scratch),
  });
  t.diagnostic(describeFuzz(applied));
  assert.ok(applied.cases >= 20);
  await rm(scratch, { recursive: true });
  assert.deepEqual(await files(), before, directory);
});
