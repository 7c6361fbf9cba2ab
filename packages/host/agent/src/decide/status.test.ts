import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelLivepatch } from '../kernel/livepatch.ts';
import { type Contact, noContact } from '../seen/contact.ts';
import { nothingObserved, type Observed } from '../seen/observed.ts';
import { type Attempt, emptyJournal, type Journal } from '../state/journal.ts';
import { statusOf } from './status.ts';

const now = new Date('2026-11-01T12:00:00Z');
const bootId = 'd94b1c6a-6d9f-4b0e-8c39-0b8b1a2f6f11';
const buildId = 'ab'.repeat(20);
const names = ['kmend_000000000001', 'kmend_000000000002'] as const;

const journal: Journal = {
  ...emptyJournal,
  known: names.map((module, index) => ({ buildId, serial: index + 1, id: module.slice(6), module })),
};

function attempt(serial: 1 | 2): Attempt {
  const module = names[serial - 1] ?? '';
  return {
    ...{ buildId, serial, id: module.slice(6), module, bootId, origin: 'check', phase: 'soak' },
    ...{ began: now.toISOString(), since: now.toISOString(), sinceUptime: 1, logFrom: 0, sha256: 'cd'.repeat(32) },
    ...{ stuck: false, cleanShutdown: false, failure: null },
  };
}

function livepatch(name: string, transition = false, enabled = true): KernelLivepatch {
  return { name, enabled, transition, objects: [] };
}

function observed(ageMinutes: number, values: Partial<Observed> = {}): Observed {
  const seen = new Date(now.getTime() - ageMinutes * 60_000).toISOString();
  const axis = <S>(state: S) => ({ state, since: seen, seen });
  return { ...nothingObserved, version: 7, coverage: axis('current' as const), chosen: 1, ...values };
}

/** A good contact at the time of that look. */
function contact({ coverage, version }: Observed): Contact {
  if (coverage === null) return noContact;
  const { since, seen } = coverage;
  return { ...noContact, contact: { state: 'ok', since, seen }, version };
}

function look(livepatches: KernelLivepatch[], current: Attempt | null, seen: Observed, met = contact(seen)) {
  const kernel = { supported: true, livepatches, modules: livepatches.map((it) => it.name) };
  return statusOf({
    observed: seen,
    contact: met,
    journal: { ...journal, current },
    kernel,
    buildId,
    bootId,
    now,
    stack: null,
  });
}

test('shows an axis without an observation as unknown', () => {
  const { status, exitCode } = look([], null, nothingObserved);
  assert.deepEqual([status.contact.state, status.coverage.state, status.loaded.state], ['unknown', 'unknown', 'none']);
  assert.equal(exitCode, 1);
});

test('shows an axis with an old observation as unknown, with the old state', () => {
  const { status, exitCode } = look([livepatch(names[0])], attempt(1), observed(60));
  assert.equal(status.contact.state, 'unknown');
  assert.match(status.contact.detail ?? '', /last seen ok/);
  assert.equal(exitCode, 4);
  assert.equal(look([], null, observed(-60)).status.contact.state, 'unknown');
});

test('exits differently for latest, newer available and not covered', () => {
  const loaded = [livepatch(names[0])];
  assert.equal(look(loaded, attempt(1), observed(1)).exitCode, 0);
  assert.equal(look(loaded, attempt(1), observed(1, { chosen: 2 })).exitCode, 2);
  const coverage = { state: 'not-covered', since: now.toISOString(), seen: now.toISOString() } as const;
  assert.equal(look([], null, observed(1, { coverage, chosen: null })).exitCode, 3);
});

test('shows a livepatch in transition as not in force for every task', () => {
  const first = look([livepatch(names[0], true)], attempt(1), observed(1));
  assert.deepEqual([first.status.transition.state, first.effectiveSerial, first.exitCode], ['in-transition', null, 1]);
  const second = look([livepatch(names[0]), livepatch(names[1], true)], attempt(2), observed(1, { chosen: 2 }));
  assert.deepEqual([second.effectiveSerial, second.exitCode], [null, 1]);
});

test('shows verified only if this boot compared the bytes', () => {
  const loaded = [livepatch(names[0])];
  assert.equal(look(loaded, attempt(1), observed(1)).status.verified.state, 'verified');
  assert.equal(look(loaded, { ...attempt(1), sha256: null }, observed(1)).status.verified.state, 'unverified');
  const before = { ...attempt(1), bootId: '00000000-0000-4000-8000-000000000000' };
  assert.equal(look(loaded, before, observed(1)).status.verified.state, 'unverified');
});

test('shows a foreign livepatch without a serial, and not as protection', () => {
  const { livepatches, status, exitCode } = look([livepatch('foreign')], null, observed(1));
  assert.equal(livepatches[0]?.serial, null);
  assert.equal(status.loaded.state, 'none');
  assert.equal(exitCode, 1);
});

test('updates coverage after a load or revert since the check', () => {
  const behind = { state: 'behind', since: now.toISOString(), seen: now.toISOString() } as const;
  const loaded = look([livepatch(names[0])], attempt(1), observed(1, { coverage: behind }));
  assert.equal(loaded.status.coverage.state, 'current');
  assert.equal(look([], null, observed(1)).status.coverage.state, 'behind');
});

test('confirms coverage by a later contact only if it found the same metadata', () => {
  const old = observed(60);
  const fresh = { ...contact(observed(1)), version: 7 };
  const loaded = [livepatch(names[0])];
  assert.equal(look(loaded, attempt(1), old, fresh).status.coverage.state, 'current');
  assert.equal(look(loaded, attempt(1), old, { ...fresh, version: 8 }).status.coverage.state, 'unknown');
  const since = now.toISOString();
  const down = { ...fresh, contact: { state: 'unreachable', since, seen: since } } as const;
  assert.equal(look(loaded, attempt(1), old, down).status.coverage.state, 'unknown');
});
