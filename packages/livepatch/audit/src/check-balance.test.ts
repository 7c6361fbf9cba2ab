import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchanged, NAMELESS } from './check-balance.ts';

const tally = (counts: Record<string, number>) => new Map(Object.entries(counts));
const THERE = tally({ 'call of gfs2_consist_inode_i': 2, 'call of gfs2_set_aops': 1, '"gfs2_inode_refresh"': 2 });
const BEFORE = tally({ 'call of gfs2_consist_inode_i': 1, 'call of gfs2_set_aops': 1 });

test('reports a reference that differs from the fixed kernel’s', () => {
  const here = tally({ 'call of gfs2_consist_inode_i': 1, 'call of gfs2_set_aops': 2, '"gfs2_inode_refresh"': 2 });
  assert.deepEqual(exchanged(here, THERE, BEFORE), {
    here: 'call of gfs2_set_aops',
    there: 'call of gfs2_consist_inode_i',
  });
});

test('accepts a reference that the running kernel has as often', () => {
  const here = tally({ 'call of gfs2_consist_inode_i': 1, 'call of gfs2_set_aops': 2, '"gfs2_inode_refresh"': 2 });
  assert.equal(exchanged(here, THERE, tally({ 'call of gfs2_set_aops': 2 })), undefined);
});

test('draws no conclusion from equal counts, or counts that differ in several places', () => {
  assert.equal(exchanged(THERE, THERE, BEFORE), undefined);
  assert.equal(exchanged(tally({ other: 1, another: 1 }), THERE, BEFORE), undefined);
  assert.equal(
    exchanged(
      tally({ 'call of gfs2_consist_inode_i': 2, 'call of gfs2_set_aops': 1, '"gfs2_inode_refresh"': 3 }),
      THERE,
      BEFORE,
    ),
    undefined,
  );
});

test('does not weigh data without a name: a lock class key has no size without lockdep', () => {
  const there = tally({ 'call of __list_lru_init': 1, __key: 1 });
  const here = tally({ 'call of __list_lru_init': 1, [NAMELESS]: 1 });
  assert.equal(exchanged(here, there, there), undefined);
  assert.equal(exchanged(there, here, here), undefined);
});
