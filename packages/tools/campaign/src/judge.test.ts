import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyJournal, type Journal } from '@kmend/agent/journal';
import { alwaysHolds, answerKept, standing, toldTooMuch } from './judge.ts';
import type { Claims, Observation } from './observe.ts';

const ONE = { serial: 1, module: 'kmend_aaaaaaaaaaaa', sha256: 'a1'.repeat(32), buildId: 'b1'.repeat(20), fixes: true };
const TWO = { serial: 2, module: 'kmend_bbbbbbbbbbbb', sha256: 'a2'.repeat(32), buildId: 'b2'.repeat(20), fixes: true };
const published = [ONE, TWO];
const on = [{ name: ONE.module, enabled: true, transition: false }];
const moving = [{ name: ONE.module, enabled: true, transition: true }];

const protectedClaims: Claims = {
  hostId: '00000000-0000-4000-8000-000000000000',
  status: {
    contact: { state: 'ok' },
    coverage: { state: 'current' },
    loaded: { state: 'loaded' },
    transition: { state: 'complete' },
    verified: { state: 'verified' },
  },
  state: 'good',
  effectiveSerial: 1,
  chosenSerial: 1,
  reason: null,
  problem: null,
  hold: null,
  quarantined: [],
  exitCode: 0,
};
const sound: Observation = {
  before: on,
  after: on,
  claims: protectedClaims,
  said: '',
  effect: 'fixed',
  journal: JSON.stringify(emptyJournal),
  journalProblem: undefined,
  remains: [],
  foreign: [ONE.module],
  handed: [ONE.sha256],
  buildIds: { [ONE.module]: ONE.buildId },
  system: 'running',
  failedUnits: [],
  enabled: [ONE.module],
};
const harms = (change: Partial<Observation>): string[] =>
  alwaysHolds({ ...sound, ...change }, published).map(({ harm }) => harm);

test('reports no finding for a sound host', () => {
  assert.deepEqual(harms({}), []);
  assert.equal(standing(sound, emptyJournal, ONE).kind, 'right');
});

test('detects an unpublished module, in the kernel or passed to it', () => {
  assert.deepEqual(harms({ foreign: [ONE.module, 'kmend_cccccccccccc'] }), ['unverified']);
  assert.deepEqual(harms({ enabled: ['kmend_cccccccccccc'] }), ['unverified']);
  assert.deepEqual(harms({ handed: ['ff'.repeat(32)] }), ['unverified']);
  assert.deepEqual(harms({ buildIds: { [ONE.module]: TWO.buildId } }), ['unverified']);
});

test('reports a claim that the kernel contradicts', () => {
  assert.deepEqual(harms({ before: [], after: [] }), ['false-protected']);
  assert.deepEqual(harms({ before: moving, after: moving }), ['false-protected']);
  assert.deepEqual(harms({ effect: 'vulnerable' }), ['false-protected']);
  assert.deepEqual(harms({ claims: { ...protectedClaims, effectiveSerial: 2 } }), ['false-protected']);
  assert.deepEqual(harms({ claims: { ...protectedClaims, effectiveSerial: null } }), ['false-protected']);
  // It changed while the agent looked: it may have seen either.
  assert.deepEqual(harms({ before: moving, after: on }), []);
});

test('reports no false claim where there is no claim', () => {
  const transition = { ...protectedClaims.status, transition: { state: 'in-transition' } };
  const claims = { ...protectedClaims, status: transition, effectiveSerial: null, exitCode: 1 };
  assert.deepEqual(harms({ before: moving, after: moving, claims, effect: 'vulnerable' }), []);
});

test('counts a damaged journal as lost', () => {
  assert.deepEqual(harms({ journalProblem: 'not JSON' }), ['journal-lost']);
  assert.deepEqual(harms({ remains: ['/var/lib/kmend-agent/journal.json.damaged'] }), ['journal-lost']);
  assert.deepEqual(harms({ remains: ['/var/lib/kmend-agent/journal.json.ab.tmp'] }), []);
});

test('accepts as final state the policy’s livepatch, a hold, or a reported quarantine', () => {
  const none: Partial<Observation> = { before: [], after: [], effect: 'vulnerable' };
  const at = '2026-11-24T12:00:00.000Z';
  const buildId = 'cd'.repeat(20);
  const hold: Journal['hold'] = { kind: 'out', buildId, untilNewerThan: null, until: null, reason: 'by hand', at };
  const held = { ...emptyJournal, hold };
  const claims = { ...protectedClaims, hold: {}, effectiveSerial: null, exitCode: 1 };
  assert.equal(standing({ ...sound, ...none, claims }, held, ONE).kind, 'right');
  assert.equal(standing({ ...sound, claims }, held, ONE).kind, 'wrong');
  const stays = { ...emptyJournal, hold: { ...hold, kind: 'stay' as const } };
  assert.equal(standing({ ...sound, claims: { ...protectedClaims, hold: {} } }, stays, TWO).kind, 'right');
  assert.equal(standing({ ...sound, ...none, claims }, stays, ONE).kind, 'wrong');
  const quarantined = { ...claims, hold: null, quarantined: [{ serial: 1, code: 'crashed' }] };
  assert.equal(standing({ ...sound, ...none, claims: quarantined }, emptyJournal, ONE).kind, 'person');
  assert.equal(standing({ ...sound, claims: quarantined }, emptyJournal, ONE).kind, 'wrong');
  // The last good one is to be in force then.
  const known = { buildId, serial: 2, id: 'bbbbbbbbbbbb', module: TWO.module, sha256: TWO.sha256, since: at };
  const good = [{ ...known, soaked: true, cuts: 0 }];
  const fallen: Partial<Observation> = { after: [{ name: TWO.module, enabled: true, transition: false }] };
  assert.equal(standing({ ...sound, ...none, claims: quarantined }, { ...emptyJournal, good }, ONE).kind, 'wrong');
  assert.equal(standing({ ...sound, ...fallen, claims: quarantined }, { ...emptyJournal, good }, ONE).kind, 'person');
  assert.equal(standing({ ...sound, ...none }, emptyJournal, ONE).kind, 'wrong');
  assert.equal(standing({ ...sound, system: 'degraded' }, emptyJournal, ONE).kind, 'wrong');
  assert.equal(standing(sound, emptyJournal, TWO).kind, 'wrong');
});

test('reports a server state that exceeds the host’s', () => {
  const told = { loaded: 'loaded', transition: 'complete', effectiveSerial: 1 };
  const nothing = { ...sound, before: [], after: [] };
  assert.deepEqual(toldTooMuch(told, sound, published), []);
  assert.deepEqual(
    toldTooMuch(told, nothing, published).map(({ harm }) => harm),
    ['false-protected'],
  );
  assert.deepEqual(toldTooMuch({ ...told, transition: 'in-transition' }, nothing, published), []);
});

test('keeps a revert that was answered with success', () => {
  assert.equal(answerKept('revert', 0, sound).length, 1);
  assert.deepEqual(answerKept('revert', 5, sound), []);
  assert.deepEqual(answerKept('revert', 0, { ...sound, claims: { ...protectedClaims, hold: {} } }), []);
  assert.deepEqual(answerKept('resume', 0, sound), []);
  assert.equal(answerKept('resume', 0, { ...sound, claims: { ...protectedClaims, hold: {} } }).length, 1);
});
