import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usualProcessors } from './processors.ts';

test('gives an emulated host one processor where its kernel is newer than Debian 12’s', () => {
  for (const release of ['6.12.111+deb13-amd64', '6.3.0-own', '7.2.9+deb13-amd64', '7.3.4+deb13-cloud-amd64'])
    assert.deepEqual([usualProcessors({ release }, 'tcg'), usualProcessors({ release }, 'kvm')], [1, 2], release);
  for (const release of ['6.1.0-47-amd64', '6.1.170-own', '5.10.0-30-amd64'])
    assert.equal(usualProcessors({ release }, 'tcg'), 2, release);
});
