import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FixedComparison } from '@kmend/protocol';
import { makeFix } from '../fix/store.ts';
import { partReasons } from './parts.ts';

const PATCH = '--- a/net/a.c\n+++ b/net/a.c\n@@ -1,2 +1,2 @@\n int a;\n-int b;\n+int c;\n';
const WORDS = { id: 'F', title: 'f', severity: 'unknown', hardware: false } as const;
const ORIGIN = { kind: 'debian', suite: 'bookworm', from: '1', to: '2', paths: ['net/a.c', 'net/a.h'] } as const;
const whole = makeFix(WORDS, { ...ORIGIN, paths: [...ORIGIN.paths] }, PATCH);
const part = makeFix(WORDS, { ...ORIGIN, paths: [...ORIGIN.paths], parts: { 'net/a.h': ['flag'] } }, PATCH);

function compared(...different: Partial<FixedComparison['different'][number]>[]): FixedComparison {
  const rest = { name: 'f', source: 'net/a.c', version: '2', message: 'differs' };
  return {
    compared: 2,
    equal: 2 - different.length,
    kernels: [],
    notCompared: [],
    different: different.map((one) => ({
      ...rest,
      files: [],
      cause: 'own-file',
      ...one,
    })) as FixedComparison['different'],
  };
}

function verdicts(fixed: FixedComparison | undefined): string[] {
  return partReasons([part], fixed).map(({ verdict }) => verdict);
}

test('refuses a function that differs over a partly taken header, or for no known reason', () => {
  assert.deepEqual(verdicts(compared({ cause: 'other-files', files: ['net/a.h'] })), ['refused']);
  assert.deepEqual(verdicts(compared({ cause: 'unexplained' })), ['refused']);
});

test('accepts a part if every function equals the fixed kernel’s, or differs over other files', () => {
  assert.deepEqual(verdicts(compared()), []);
  assert.deepEqual(verdicts(compared({ cause: 'other-files', files: ['include/linux/device.h'] })), []);
});

test('asks for a review without a fixed kernel, not for whole headers', () => {
  assert.deepEqual(verdicts(undefined), ['needs-review']);
  assert.deepEqual(verdicts({ ...compared(), notCompared: ['no image'] }), ['needs-review']);
  const both = { ...compared({ cause: 'unexplained' }), notCompared: ['no image of another version'] };
  assert.deepEqual(verdicts(both), ['refused', 'needs-review']);
  assert.deepEqual(partReasons([whole], undefined), []);
});
