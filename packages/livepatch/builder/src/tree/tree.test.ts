import assert from 'node:assert/strict';
import { test } from 'node:test';
import { smallTree } from '../testing/small-tree.ts';
import { treeArguments } from './tree.ts';

test('tries the compiler out in a folder of its own in each run of make', () => {
  const tree = smallTree('/cache/tree', '/cache/tree/source');
  const places = [1, 2].map(() => treeArguments(tree).find((word) => word.startsWith('TMPOUT=')));
  for (const place of places) assert.match(place ?? '', /^TMPOUT=\/cache\/tree\/\.try-[\w-]+-\$\$\$\$$/);
  assert.notEqual(places[0], places[1]);
});
