import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FixFiles, Outcome } from '../judge/judge.ts';
import { splitUpdate } from './split.ts';

const reason = (code: string, verdict: 'needs-review' | 'refused') => ({ code, verdict, message: `because ${code}` });
const built = (paths: readonly string[], patched: readonly string[], codes: readonly string[] = []): Outcome => ({
  paths,
  fix: '',
  verdict: codes.length === 0 ? 'patchable' : 'needs-review',
  reasons: codes.map((code) => reason(code, 'needs-review')),
  patched,
  seconds: 1,
});
const refused = (paths: readonly string[], code: string): Outcome => ({
  paths,
  fix: '',
  verdict: 'refused',
  reasons: [reason(code, 'refused')],
  patched: [],
  seconds: 1,
});
const needs = (path: string, all: readonly string[], together: Outcome): Outcome => ({
  paths: [path],
  fix: '',
  error: { code: 'patch-does-not-compile', message: 'x undeclared' },
  companions: { leftOut: [], compiles: false, companions: all.slice(1), complete: true },
  together,
  seconds: 1,
});

/** Outcomes by the files of a fix; of sets that are not named: built if all their members are. */
function judgeWith(known: Record<string, Outcome>) {
  const asked: string[] = [];
  const judge = async ({ paths }: FixFiles): Promise<Outcome> => {
    const name = [...paths].sort().join(' ');
    asked.push(name);
    const all = paths.flatMap((path) => known[path]?.patched ?? []);
    return known[name] ?? built(paths, all);
  };
  return { judge, asked };
}

test('makes a fix of each file that stands alone, and says why others are none', async () => {
  const { judge } = judgeWith({
    'a.c': built(['a.c'], ['a.c']),
    'b.c': built(['b.c'], ['b.c'], ['lock-balance']),
    'c.c': refused(['c.c'], 'type-layout-changed'),
    'd.c': refused(['d.c'], 'no-function-changed'),
    'e.c': { paths: ['e.c'], fix: '', error: { code: 'unit-not-built', message: '' }, seconds: 1 },
  });
  const { fixes, dead } = await splitUpdate(['a.c', 'b.c', 'c.c', 'd.c', 'e.c'], judge);
  assert.deepEqual(
    fixes.map(({ paths, questions }) => [paths, questions.map(({ code }) => code)]),
    [
      [['a.c'], []],
      [['b.c'], ['lock-balance']],
    ],
  );
  assert.deepEqual(
    dead.map(({ paths, state, reasons }) => [paths[0], state, reasons.map(({ code }) => code)]),
    [
      ['c.c', 'refused', ['type-layout-changed']],
      ['d.c', 'nothing-to-patch', ['no-code-changed']],
      ['e.c', 'not-built', []],
    ],
  );
});

test('joins files that need the same header, with the users of what it changes', async () => {
  const { judge } = judgeWith({
    'a.c': needs('a.c', ['a.c', 'h.h'], built(['a.c', 'h.h'], ['a.c', 'c.c'])),
    'b.c': needs('b.c', ['b.c', 'h.h'], built(['b.c', 'h.h'], ['b.c'])),
    'c.c': built(['c.c'], ['c.c']),
    'd.c': built(['d.c'], ['d.c']),
  });
  const { fixes, dead } = await splitUpdate(['a.c', 'b.c', 'c.c', 'd.c', 'h.h'], judge);
  assert.deepEqual(
    fixes.map(({ paths }) => paths),
    [['a.c', 'h.h', 'b.c', 'c.c'], ['d.c']],
  );
  assert.deepEqual(dead, []);
});

test('keeps the part of a set that can be built, with a question, and names what it leaves', async () => {
  const { judge } = judgeWith({
    'a.c': needs('a.c', ['a.c', 'h.h'], built(['a.c', 'h.h'], ['a.c'])),
    'b.c': needs('b.c', ['b.c', 'h.h'], built(['b.c', 'h.h'], ['b.c'])),
    'a.c b.c h.h': refused(['a.c', 'b.c', 'h.h'], 'data-changed'),
  });
  const { fixes, dead } = await splitUpdate(['a.c', 'b.c'], judge);
  assert.deepEqual(
    fixes.map(({ paths, questions }) => [paths, questions.map(({ code, source }) => [code, source])]),
    [[['a.c', 'h.h'], [['set-split', 'b.c']]]],
  );
  assert.deepEqual(
    dead.map(({ paths, state, reasons }) => [paths, state, reasons[0]?.code]),
    [[['b.c', 'h.h'], 'refused', 'data-changed']],
  );
});

test('asks about a fix that replaces functions of a file whose own change is refused', async () => {
  const { judge } = judgeWith({
    'a.c': needs('a.c', ['a.c', 'h.h'], built(['a.c', 'h.h'], ['a.c', 'user.c'])),
    'user.c': refused(['user.c'], 'function-not-traceable'),
  });
  const { fixes } = await splitUpdate(['a.c', 'user.c'], judge);
  assert.deepEqual(
    fixes[0]?.questions.map(({ code, source }) => [code, source]),
    [['set-split', 'user.c']],
  );
});

test('builds a header by itself only if no fix has it whole', async () => {
  const { judge, asked } = judgeWith({
    'a.c': needs('a.c', ['a.c', 'h.h'], built(['a.c', 'h.h'], ['a.c'])),
    'i.h': built(['i.h'], ['x.c']),
  });
  const { fixes } = await splitUpdate(['h.h', 'a.c', 'i.h'], judge);
  assert.deepEqual(asked, ['a.c', 'i.h']);
  assert.deepEqual(
    fixes.map(({ paths }) => paths),
    [['a.c', 'h.h'], ['i.h']],
  );
});
