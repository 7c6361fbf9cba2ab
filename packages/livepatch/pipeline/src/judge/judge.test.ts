import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsNewMember } from './judge.ts';

const ERRORS = 'kernel/fork.c:1314:25: error: ‘struct mm_struct’ has no member named ‘futex_unique_id’';

function refused(code: 'type-layout-changed' | 'data-changed', message: string) {
  return { reasons: [{ code, verdict: 'refused' as const, message, source: 'kernel/fork.c' }] };
}

test('knows that parts of headers do not help where the missing member itself moves others', () => {
  const moves = 'struct mm_struct changes: member futex_unique_id added at 232; member hiwater_rss moved';
  assert.equal(needsNewMember(refused('type-layout-changed', moves), ERRORS), true);
  assert.equal(needsNewMember(refused('type-layout-changed', moves), 'error: implicit declaration'), false);
  assert.equal(
    needsNewMember(refused('type-layout-changed', 'struct a changes: member futex added at 8'), ERRORS),
    false,
  );
  assert.equal(needsNewMember(refused('data-changed', moves), ERRORS), false);
  assert.equal(needsNewMember(undefined, ERRORS), false);
});
