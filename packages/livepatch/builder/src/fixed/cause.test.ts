import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownCause } from './cause.ts';
import { differenceMessage, differenceReason } from './tell.ts';

const TEXT = 'int helper(int a)\n{\n\treturn a;\n}\n\nint first(int a)\n{\n\treturn helper(a);\n}\n';

test('distinguishes a change of the function itself from one elsewhere in its file, and from moved lines', () => {
  assert.equal(ownCause('first', TEXT, TEXT.replace('helper(a);', 'helper(a) + 1;')), 'own-function');
  assert.equal(ownCause('first.isra', TEXT, TEXT.replace('helper(a);', 'helper(a) + 1;')), 'own-function');
  assert.equal(ownCause('first', TEXT, TEXT.replace('return a;', 'return a + 1;')), 'own-file');
  assert.equal(ownCause('first', TEXT, TEXT), 'line-numbers');
});

test('asks for a review of a difference unless other parts of the file explain it', () => {
  const reasons = (['own-function', 'other-files', 'unexplained', 'own-file', 'line-numbers'] as const).map((cause) => {
    const found = { name: 'first', source: 'a/unit.c', version: '6.1.176-1', cause, files: ['a/unit.h'] };
    const [reason] = differenceReason(differenceMessage(found, 'first: code differs at +0x4'));
    return [reason?.code, reason?.verdict, reason?.symbol].join(' ');
  });
  const review = 'fixed-kernel-differs needs-review first';
  assert.deepEqual(
    reasons.map((reason) => reason.trim()),
    [review, review, review, '', ''],
  );
});

test('names the files of the upload that make the function equal', () => {
  const files = ['net/batman-adv/types.h', 'include/net/sock.h'];
  const found = { name: 'f', source: 'net/a.c', version: '6.1.176-1', cause: 'other-files' as const, files };
  assert.match(
    differenceMessage(found, 'f: code differs at +0x4').message,
    /^f is not what 6\.1\.176-1 has: .*equal with net\/batman-adv\/types\.h include\/net\/sock\.h as 6\.1\.176-1 has them, which the fixes leave out: does the fix need that\?$/,
  );
});
