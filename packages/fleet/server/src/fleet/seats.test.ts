import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import {
  assertNamed,
  assertSeat,
  assertValidKey,
  isNoteDue,
  needsSeat,
  packageSeatsSince,
  type SeatKey,
} from './seats.ts';

const now = new Date('2026-11-30T12:00:00Z');
const key: SeatKey = { id: 'k', name: 'web', seats: 2, expires: null, revoked: false };
const ago = (ms: number): string => new Date(now.getTime() - ms).toISOString();
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function codeOf(attempt: () => void): unknown {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

test('accepts a key until it is revoked or expires', () => {
  assert.equal(
    codeOf(() => assertValidKey(key, now)),
    undefined,
  );
  assert.equal(
    codeOf(() => assertValidKey(undefined, now)),
    'key-unknown',
  );
  assert.equal(
    codeOf(() => assertValidKey({ ...key, revoked: true }, now)),
    'key-revoked',
  );
  assert.equal(
    codeOf(() => assertValidKey({ ...key, expires: now.toISOString() }, now)),
    'key-expired',
  );
  assert.equal(
    codeOf(() => assertValidKey({ ...key, expires: ago(-1) }, now)),
    undefined,
  );
});

test('shares the seats of a key between hosts and machines that fetch packages', () => {
  assert.equal(
    codeOf(() => assertSeat(key, { hosts: 1, packageHosts: 0 })),
    undefined,
  );
  assert.equal(
    codeOf(() => assertSeat(key, { hosts: 1, packageHosts: 1 })),
    'key-no-seats',
  );
  assert.equal(
    codeOf(() => assertSeat({ ...key, seats: 0 }, { hosts: 0, packageHosts: 0 })),
    'key-no-seats',
  );
  assert.equal(
    codeOf(() => assertSeat({ ...key, seats: null }, { hosts: 5, packageHosts: 5 })),
    undefined,
  );
});

test('keeps a machine’s seat for thirty days, and records its use once an hour', () => {
  assert.deepEqual(
    [needsSeat(undefined, now), needsSeat(ago(29 * DAY), now), needsSeat(ago(31 * DAY), now)],
    [true, false, true],
  );
  assert.equal(needsSeat(packageSeatsSince(now), now), false);
  assert.deepEqual(
    [isNoteDue(undefined, now), isNoteDue(ago(HOUR - 1), now), isNoteDue(ago(HOUR), now)],
    [true, false, true],
  );
});

test('gives no seat to a machine without a name', () => {
  assert.equal(
    codeOf(() => assertNamed(key, undefined)),
    'host-unnamed',
  );
  assert.equal(
    codeOf(() => assertNamed(key, 'web-1')),
    undefined,
  );
});
