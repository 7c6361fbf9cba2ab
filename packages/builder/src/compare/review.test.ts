import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeFix } from '../fix/store.ts';
import { reviewFix } from './review.ts';

function review(line: string): string[] {
  const patch = `--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,3 @@\n context_lock();\n${line}\n more\n`;
  const fix = makeFix({ id: 'X', title: 't', severity: 'low', hardware: false }, { kind: 'patch', file: 'x' }, patch);
  return reviewFix(fix).map(({ code }) => code);
}

test('a fix that takes or drops a lock needs a look', () => {
  const lines = [
    '+\tmutex_lock(&m);',
    '-\tspin_unlock_irqrestore(&l, f);',
    '+\tdown_read(&s);',
    '+\tshm_lock_by_ptr(shp);',
    '+ if (!spin_trylock(&l))',
    '+\trcu_read_lock();',
  ];
  for (const line of lines) assert.deepEqual(review(line), ['lock-protocol'], line);
});

test('other changes do not, nor do unchanged lines', () => {
  for (const line of [
    '+\tclock_gettime(x);',
    '+\tblock(x);',
    '-\tlockless(x);',
    '+\tshutdown(x);',
    ' \tmutex_lock(&m);',
  ]) {
    assert.deepEqual(review(line), [], line);
  }
});
