import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Candidate, connectedSets, joined } from './sets.ts';

const fix = (paths: string[], patched: string[] = [], parts?: Record<string, string[]>): Candidate => ({
  paths,
  patched,
  parts,
});
const firsts = (sets: Candidate[][]): string[][] => sets.map((set) => set.map(({ paths }) => paths[0] ?? ''));

test('joins fixes with a file in common, and users of what a fix changes; keeps others apart', () => {
  const sets = connectedSets([
    fix(['a.c', 'h.h'], ['a.c']),
    fix(['b.c'], ['b.c']),
    fix(['c.c', 'h.h'], ['c.c', 'd.c', 'not-changed.c']),
    fix(['d.c'], ['d.c']),
    fix(['e.c'], ['not-changed.c']),
  ]);
  assert.deepEqual(firsts(sets), [['a.c', 'c.c', 'd.c'], ['b.c'], ['e.c']]);
});

test('joins over several steps, whatever the order', () => {
  const chain = [fix(['3.c', '2.h']), fix(['1.c', '1.h']), fix(['2.c', '1.h', '2.h'])];
  assert.deepEqual(firsts(connectedSets(chain)), [['3.c', '1.c', '2.c']]);
});

test('takes a header whole if one of the fixes does, else the parts of all', () => {
  const one = fix(['a.c', 'h.h', 'i.h'], [], { 'h.h': ['x'], 'i.h': ['p'] });
  const two = fix(['b.c', 'h.h', 'i.h'], [], { 'i.h': ['o', 'p'] });
  assert.deepEqual(joined([one, two]), { paths: ['a.c', 'h.h', 'i.h', 'b.c'], parts: { 'i.h': ['o', 'p'] } });
  assert.deepEqual(joined([fix(['a.c'])]), { paths: ['a.c'] });
});
