import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kernel } from '@kmend/kernel';
import { MACHINE } from '@kmend/toolchain';
import { treeArguments } from './tree.ts';

test('tries the compiler out in a folder of its own in each run of make', () => {
  const kernel = { release: '6.1.0-99-amd64', compiler: { command: 'gcc-12' } } as Kernel;
  const tree = { kernel, directory: '/cache/tree', source: '/cache/tree/source', root: MACHINE };
  const places = [1, 2].map(() => treeArguments(tree).find((word) => word.startsWith('TMPOUT=')));
  for (const place of places) assert.match(place ?? '', /^TMPOUT=\/cache\/tree\/\.try-[\w-]+-\$\$\$\$$/);
  assert.notEqual(places[0], places[1]);
});
