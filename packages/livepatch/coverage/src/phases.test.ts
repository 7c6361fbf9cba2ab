import assert from 'node:assert/strict';
import { test } from 'node:test';
import { phasesOf } from './phases.ts';

/** As 6.1 prints it. */
const LOG = `[   97.434949] livepatch: enabling patch 'kmend_c12913e02332'
[   97.435242] livepatch: 'kmend_c12913e02332': initializing patching transition
[   99.501418] livepatch: 'kmend_c12913e02332': starting patching transition
[   99.544368] livepatch: 'kmend_c12913e02332': completing patching transition
[   99.545082] livepatch: 'kmend_c12913e02332': patching complete
[   99.953814] livepatch: 'kmend_c12913e02332': initializing unpatching transition
[   99.953951] livepatch: 'kmend_c12913e02332': starting unpatching transition
[   99.954859] livepatch: 'kmend_c12913e02332': completing unpatching transition
[  127.672987] livepatch: 'kmend_c12913e02332': unpatching complete
`;
const NAME = 'kmend_c12913e02332';

test('finds the phases of a load and of a revert', () => {
  assert.deepEqual(phasesOf(LOG, NAME, 'patching'), { prepare: 2.066, tasks: 0.043, finish: 0.001 });
  assert.deepEqual(phasesOf(LOG, NAME, 'unpatching'), { prepare: 0, tasks: 0.001, finish: 27.718 });
});

test('takes the last transition, and only after its end', () => {
  const again = LOG.replaceAll(/^\[ *(\d+)/gm, (_, seconds) => `[ ${1000 + Number(seconds)}`);
  assert.deepEqual(phasesOf(LOG + again, NAME, 'unpatching')?.finish, 27.718);
  const begun = again.split('\n').slice(0, 3).join('\n');
  assert.equal(phasesOf(LOG + begun, NAME, 'patching'), undefined);
});

test('finds no phases without the messages, or of another livepatch', () => {
  assert.equal(phasesOf(LOG, 'kmend_000000000000', 'patching'), undefined);
  assert.equal(phasesOf(LOG.replaceAll(/.*completing.*\n/g, ''), NAME, 'patching'), undefined);
  assert.equal(phasesOf('', NAME, 'patching'), undefined);
});
