import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fieldOf, stanzasOf } from './deb822.ts';

const TEXT = '\nPackage: a\nVersion:1.0 \nDescription: x\n Version: 9\n \n\npackage: b\n';

test('splits stanzas at blank lines', () => {
  assert.deepEqual(
    stanzasOf(TEXT).map((stanza) => fieldOf(stanza, 'Package')),
    ['a', 'b'],
  );
  assert.deepEqual(stanzasOf('\n \n'), []);
});

test('reads a field only at the beginning of a line', () => {
  const [first = ''] = stanzasOf(TEXT);
  assert.deepEqual([fieldOf(first, 'Version'), fieldOf(first, 'Depends')], ['1.0', '']);
});
