import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeKey, isCovered } from './review.ts';

const PATCH = `--- a/net/core/sock.c
+++ b/net/core/sock.c
@@ -10,3 +10,4 @@ int sock_init(void)
 	int a;
+	int b;
 	return a;
 }
`;

test('knows a change again at another place, and no other change', () => {
  const moved = PATCH.replace('-10,3 +10,4 @@ int sock_init(void)', '-70,3 +75,4 @@ void other(void)');
  assert.equal(changeKey(moved), changeKey(PATCH));
  for (const other of [
    PATCH.replace('int b', 'int c'),
    PATCH.replaceAll('sock.c', 'dev.c'),
    PATCH.replace('int a', 'long a'),
  ])
    assert.notEqual(changeKey(other), changeKey(PATCH));
});

test('takes an acceptance for the reasons that were read, not for others', () => {
  const reason = { code: 'lock-balance', verdict: 'needs-review', source: 'a.c', symbol: 'f' } as const;
  assert.equal(isCovered([reason], [reason]), true);
  assert.equal(isCovered([], []), true);
  assert.equal(isCovered([{ ...reason, symbol: 'g' }], [reason]), false);
  assert.equal(isCovered([{ ...reason, code: 'static-variable' }], [reason]), false);
  assert.equal(isCovered([{ ...reason, verdict: 'refused' }], [reason]), false);
});
