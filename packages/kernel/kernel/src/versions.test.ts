import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareVersions } from './versions.ts';

const ascending = [
  '6.1.99-1~deb12u1',
  '6.1.99-1',
  '6.1.170-2',
  '6.1.170-3',
  '6.1.170-10',
  '6.1.176-1',
  '6.12.117-1~deb12u1',
  '6.12.117-1',
  '1:6.1.1-1',
];

test('orders the versions of packages as Debian does', () => {
  for (const [index, older] of ascending.entries()) {
    assert.equal(compareVersions(older, older), 0);
    for (const newer of ascending.slice(index + 1)) {
      assert.ok(compareVersions(older, newer) < 0, `${older} < ${newer}`);
      assert.ok(compareVersions(newer, older) > 0, `${newer} > ${older}`);
    }
  }
});
