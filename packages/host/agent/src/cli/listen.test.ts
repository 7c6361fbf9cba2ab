import assert from 'node:assert/strict';
import { test } from 'node:test';
import { code } from '../testing/errors.ts';
import { inheritedPlaces } from './listen.ts';

test('finds the sockets by name in any order', () => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'consider:orders' };
  assert.deepEqual(inheritedPlaces(env, 7), { orders: { fd: 4 }, consider: { fd: 3 } });
  assert.throws(() => inheritedPlaces(env, 8), code('usage'));
  assert.throws(() => inheritedPlaces({ ...env, LISTEN_FDS: '1' }, 7), code('usage'));
  assert.throws(() => inheritedPlaces({}, 7), code('usage'));
});
