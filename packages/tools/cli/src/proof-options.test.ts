import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { Command } from 'commander';
import { type ProofOptions, proofDemand, withProofDemand } from './proof-options.ts';

const asked = (...argv: string[]) => {
  const command = withProofDemand(new Command('publish'));
  command.parse(argv, { from: 'user' });
  return proofDemand(command.opts<ProofOptions>());
};

test('without options requires that most of the replaced functions ran', () => {
  assert.deepEqual(asked(), { unproven: false, minRanPercent: 60 });
});

test('takes threshold and reason from the options', () => {
  assert.deepEqual(asked('--min-ran', '100', '--reason', 'no hardware'), {
    unproven: false,
    minRanPercent: 100,
    reason: 'no hardware',
  });
});

test('rejects an invalid share and an empty reason as wrong usage', () => {
  for (const argv of [
    ['--min-ran', '101'],
    ['--min-ran', '-1'],
    ['--min-ran', 'most'],
    ['--reason', '  '],
    ['--reason', 'two\nlines'],
    ['--reason', 'x'.repeat(501)],
  ]) {
    assert.throws(
      () => asked(...argv),
      (error) => errorCode(error) === 'usage',
      argv.join(' '),
    );
  }
});
