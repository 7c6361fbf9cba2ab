import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { run } from '@kmend/base/node';
import type { Fix } from '../fix/model.ts';
import { reviewSource } from '../review/review.ts';
import { applyFixes, type ChangedSource } from './apply.ts';

const edges = { run, signal: new AbortController().signal };

/** Two handlers that end with the same lines, as ioctl handlers do. */
const TWINS = [
  ...['int one(struct a *a)', '{', '\tint ret;', '', '\tret = look(a);', '\tuse(a);', '\treturn ret;', '}', ''],
  ...['int two(struct b *a)', '{', '\tint ret;', '', '\tret = look(a);', '\tuse(a);', '\treturn ret;', '}', ''],
];
const HEADER = ['#include <a.h>', '', '/* header */', 'static int count;', ''];

/** A hunk that adds a check behind the look-up. */
const hunk = (line: number, heading: string): string =>
  `@@ -${line},3 +${line},5 @@ ${heading}\n \tret = look(a);\n+\tif (ret)\n+\t\treturn ret;\n \tuse(a);\n \treturn ret;\n`;

const TAIL = '@@ -3,4 +3,5 @@\n /* header */\n static int count;\n+static int more;\n \n int one(struct a *a)\n';

test('applies a hunk at its own line, although other places have the same lines', async (t) => {
  const [source] = await apply(t, [...HEADER, ...TWINS], hunk(19, 'int two(struct b *a)'));
  assert.match(source?.versions[0]?.text ?? '', /int two[^}]*if \(ret\)/);
  assert.doesNotMatch(source?.versions[0]?.text ?? '', /int one[^}]*if \(ret\)/);
});

test('refuses a moved hunk that fits in two functions if nothing says which', async (t) => {
  for (const line of [2, 12, 30]) {
    await assert.rejects(apply(t, [...HEADER, ...TWINS], hunk(line, '').replace(' @@ \n', ' @@\n')), (error) => {
      assert.equal(errorCode(error), 'patch-ambiguous');
      assert.match(String(error), /2 places, line 10 \(int one\(struct a \*a\)\), line 19 \(int two\(struct b \*a\)\)/);
      return true;
    });
  }
});

test('decides between places by the function that the header names, also against patch(1)', async (t) => {
  const [source] = await apply(t, [...HEADER, ...TWINS], hunk(30, 'int two(struct b *a)'));
  assert.match(source?.versions[0]?.text ?? '', /int two[^}]*if \(ret\)/);
  // The nearest place is in the other function.
  await assert.rejects(apply(t, [...HEADER, ...TWINS], hunk(9, 'int two(struct b *a)')), { code: 'patch-ambiguous' });
});

test('accepts a hunk that moved as far as its neighbour whose place is certain', async (t) => {
  const text = ['/* new */', '/* new */', ...HEADER, ...TWINS];
  const bare = hunk(19, '').replace(' @@ \n', ' @@\n');
  const [source] = await apply(t, text, `${TAIL}${bare}`);
  assert.match(source?.versions[0]?.text ?? '', /int two[^}]*if \(ret\)/);
  // Between two that are certain there is one place.
  const last = '@@ -13,5 +13,5 @@\n }\n \n-int two(struct b *a)\n+int two(struct c *a)\n {\n \tint ret;\n';
  const [between] = await apply(t, text, `${hunk(8, '').replace(' @@ \n', ' @@\n')}${last}`);
  assert.match(between?.versions[0]?.text ?? '', /int one[^}]*if \(ret\)/);
});

test('asks for a review of a moved hunk in another function than its header names', async (t) => {
  const text = [...HEADER, ...TWINS.slice(0, 9)];
  const sources = await apply(t, text, hunk(30, 'int two(struct b *a)'));
  const reasons = sources.flatMap((source) => reviewSource(source, new Set(['F'])));
  assert.deepEqual(
    reasons.map(({ code, verdict }) => [code, verdict]),
    [['hunk-in-other-function', 'needs-review']],
  );
  assert.match(reasons[0]?.message ?? '', /moved to line 10, .* in "int one\(struct a \*a\)"/);
  const same = await apply(t, text, hunk(30, 'int one(struct a *a)'));
  assert.deepEqual(
    same.flatMap((source) => reviewSource(source, new Set(['F']))),
    [],
  );
});

test('does not report a fix as present because a sibling function has its lines', async (t) => {
  const [one, two] = [TWINS.slice(0, 9), TWINS.slice(9)];
  const checked = two.flatMap((line) => (line.includes('look') ? [line, '\tif (ret)', '\t\treturn ret;'] : [line]));
  const other = one.map((line) => line.replace('use(a)', 'use_it(a)'));
  const patch = hunk(10, 'int one(struct a *a)');
  await assert.rejects(apply(t, [...HEADER, ...other, ...checked], patch), { code: 'patch-does-not-apply' });
  const present = one.flatMap((line) => (line.includes('look') ? [line, '\tif (ret)', '\t\treturn ret;'] : [line]));
  await assert.rejects(apply(t, [...HEADER, ...present], patch), { code: 'patch-changes-nothing' });
});

test('refuses many moved hunks in a file of equal lines quickly', async (t) => {
  const text = Array.from({ length: 20_000 }, (_, n) => (n % 2 === 0 ? '\tuse(a);' : '\ttake(a);'));
  // Each names a line that has the other text.
  const places = Array.from({ length: 2_000 }, (_, n) => `${n * 6 + 2},1`);
  const hunks = places.map((place) => `@@ -${place} +${place} @@ int f(void)\n-\tuse(a);\n+\tuse(b);\n`);
  await assert.rejects(apply(t, text, hunks.join('')), (error) => {
    assert.equal(errorCode(error), 'patch-ambiguous');
    assert.match(String(error), /1000 or more places/);
    return true;
  });
});

async function apply(t: TestContext, lines: readonly string[], hunks: string): Promise<ChangedSource[]> {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-places-'));
  t.after(() => rm(tree, { recursive: true, force: true }));
  await mkdir(join(tree, 'scratch'));
  await writeFile(join(tree, 'u.c'), `${lines.join('\n')}\n`);
  const fix: Fix = {
    schema: 'kmend.fix/1',
    id: 'F',
    title: 'F',
    severity: 'low',
    hardware: false,
    origin: { kind: 'patch', file: 'F' },
    sha256: '',
    patch: `--- a/u.c\n+++ b/u.c\n${hunks}`,
    files: ['u.c'],
    leftOut: [],
    notes: [],
  };
  return await applyFixes(edges, tree, [fix], join(tree, 'scratch'));
}
