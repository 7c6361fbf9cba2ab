import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../error.ts';
import { type Attempt, emptyJournal, type Good, Journal, limits, Phase } from './journal.ts';
import * as machine from './machine.ts';
import * as overrides from './overrides.ts';
import * as table from './transitions.ts';

const now = { at: '2026-11-01T00:00:00.000Z', uptime: 100 };
const bootId = 'd94b1c6a-6d9f-4b0e-8c39-0b8b1a2f6f11';
const candidate = {
  buildId: 'ab'.repeat(20),
  serial: 3,
  id: '0123456789ab',
  module: 'kmend_0123456789ab',
  bootId,
  origin: 'check',
  sha256: 'cd'.repeat(32),
  logFrom: 12.5,
} as const satisfies machine.Candidate;

function attempt(phase: Phase, serial = 3): Attempt {
  const times = { began: now.at, since: now.at, sinceUptime: 50 };
  return { ...candidate, serial, phase, ...times, stuck: false, cleanShutdown: false, failure: null };
}

function inState(state: table.State): Journal {
  return { ...emptyJournal, current: state === 'idle' ? null : attempt(state) };
}

const transitions: Record<table.TransitionName, (journal: Journal) => Journal> = {
  beginLoad: (journal) => machine.beginLoad(journal, candidate, now),
  adopt: (journal) => machine.adopt(journal, { ...candidate, sha256: null }, now),
  renumber: (journal) => machine.renumber(journal, 4, candidate.sha256, now),
  loaded: (journal) => machine.loaded(journal, now),
  neverLoaded: (journal) => machine.neverLoaded(journal, now, 'no memory'),
  transitioned: (journal) => machine.transitioned(journal, now, 0.4),
  replaced: (journal) => machine.replaced(journal, now, []),
  soaked: (journal) => machine.soaked(journal, now),
  reportStuck: (journal) => machine.reportStuck(journal, now, 'waiting for x'),
  fail: (journal) => machine.fail(journal, now, { code: 'load-failed', message: 'gone', previousInForce: false }),
  timeOut: (journal) => machine.timeOut(journal, now, 'too long'),
  indict: (journal) => machine.indict(journal, now, 'oops in f'),
  beginRevert: (journal) => machine.beginRevert(journal, now, null, 'asked for'),
  reverted: (journal) => machine.reverted(journal, now, false),
  markShutdown: machine.markShutdown,
  crashed: (journal) => machine.crashed(journal, now, ['dmesg-1']),
  cutOff: (journal) => machine.cutOff(journal, now),
  rebooted: (journal) => machine.rebooted(journal, now),
  handOver: (journal) => machine.handOver(journal, now),
  keep: (journal) => machine.keep(journal, attempt('good'), now, 'they were busy'),
};

const targets: Record<table.TransitionName, table.State | 'same'> = {
  beginLoad: 'loading',
  adopt: 'transition',
  renumber: 'same',
  loaded: 'transition',
  neverLoaded: 'idle',
  transitioned: 'replacing',
  replaced: 'soak',
  soaked: 'good',
  reportStuck: 'same',
  fail: 'failed',
  timeOut: 'reverting',
  indict: 'reverting',
  beginRevert: 'reverting',
  reverted: 'idle',
  markShutdown: 'same',
  crashed: 'idle',
  cutOff: 'idle',
  rebooted: 'idle',
  handOver: 'idle',
  keep: 'good',
};

for (const name of Object.keys(transitions) as table.TransitionName[]) {
  test(`allows ${name} from every legal state to its target, and from no other`, () => {
    for (const state of ['idle', ...Phase.options] as const) {
      const before = inState(state);
      if ((table.transitions[name].from as readonly string[]).includes(state)) {
        const after = transitions[name](before);
        assert.equal(table.stateOf(after), targets[name] === 'same' ? state : targets[name], state);
        const to: readonly string[] = table.transitions[name].to;
        assert.ok(to.includes(targets[name]) || (targets[name] === 'idle' && to.includes('before')));
        assert.deepEqual(Journal.parse(after), after);
        assert.notEqual(after, before);
      } else {
        assert.throws(
          () => transitions[name](before),
          (error) => error instanceof AgentError && error.code === 'illegal-transition',
          state,
        );
      }
    }
  });
}

test('keeps the previous livepatch if its replacement fails early', () => {
  const inForce = { ...emptyJournal, current: attempt('good', 2) };
  const loading = machine.beginLoad(inForce, candidate, now);
  assert.equal(loading.previous?.serial, 2);
  assert.equal(
    machine.fail(loading, now, { code: 'load-refused', message: 'no', previousInForce: true }).current?.serial,
    2,
  );
  assert.equal(machine.neverLoaded(loading, now, 'no memory').current?.serial, 2);
  const moving = machine.loaded(loading, now);
  assert.equal(machine.reverted(machine.beginRevert(moving, now, null, 'x'), now, true).current?.serial, 2);
  assert.equal(machine.replaced(machine.transitioned(moving, now, 1), now, []).previous, null);
});

test('quarantines after a failure or a crash, and removes the livepatch from the list of good ones', () => {
  const good = machine.soaked(inState('soak'), now);
  assert.deepEqual(
    good.good.map((it) => it.serial),
    [3],
  );
  for (const bad of [
    machine.fail(good, now, { code: 'load-failed', message: 'gone', previousInForce: false }),
    machine.crashed(inState('soak'), now, []),
  ]) {
    assert.deepEqual(bad.good, []);
    assert.deepEqual(
      bad.quarantined.map((it) => it.serial),
      [3],
    );
  }
});

test('does not fall back to what crashed a host under another serial, but to what was refused for its signature', () => {
  const good = (serial: number, id: string): Good => ({
    ...{ buildId: candidate.buildId, serial, id, module: `kmend_${id}` },
    ...{ sha256: 'ab'.repeat(32), since: now.at, soaked: true, cuts: 0 },
  });
  const { id } = candidate;
  const journal = { ...inState('soak'), good: [good(1, 'fedcba987654'), good(2, id), good(3, id)] };
  const serials = ({ good: left }: Journal): number[] => left.map(({ serial }) => serial);
  assert.deepEqual(serials(machine.crashed(journal, now, [])), [1]);
  assert.deepEqual(serials(machine.indict(journal, now, 'oops in f')), [1]);
  assert.deepEqual(
    serials(machine.fail(journal, now, { code: 'load-refused', message: 'no key', previousInForce: true })),
    [1, 2],
  );
});

test('never counts an adopted livepatch as good, because its bytes were not compared', () => {
  const adopted = { ...inState('soak'), current: { ...attempt('soak'), sha256: null } };
  assert.deepEqual(machine.soaked(adopted, now).good, []);
});

test('lifts hold and quarantine with resume, and leaves what is loaded alone', () => {
  const held = overrides.hold(
    machine.fail(inState('loading'), now, { code: 'load-refused', message: 'no', previousInForce: false }),
    {
      kind: 'out',
      buildId: candidate.buildId,
      untilNewerThan: null,
      until: null,
      reason: 'x',
      at: now.at,
    },
  );
  const resumed = overrides.resume(held, now);
  assert.equal(resumed.hold, null);
  assert.equal(resumed.current, null);
  assert.deepEqual(resumed.quarantined, []);
  assert.equal(overrides.resume(inState('soak'), now).current?.phase, 'soak');
});

test('bounds its lists however long the host lives', () => {
  let journal = emptyJournal;
  for (let serial = 1; serial <= 300; serial += 1) {
    journal = machine.beginLoad(journal, { ...candidate, serial }, now);
    journal = machine.fail(journal, now, { code: 'load-refused', message: 'x'.repeat(5000), previousInForce: false });
  }
  assert.equal(journal.events.length, limits.events);
  assert.equal(journal.quarantined.length, limits.quarantined);
  assert.equal(journal.known.length, limits.known);
  Journal.parse(journal);
});

test('defers a transition that did not end, longer each time, in this boot only', () => {
  let journal = inState('transition');
  const waits: number[] = [];
  for (let tries = 1; tries <= 7; tries += 1) {
    journal = machine.timeOut({ ...journal, current: attempt('transition') }, now, 'too long');
    assert.equal(journal.deferred?.tries, tries);
    waits.push((journal.deferred?.untilUptime ?? 0) - now.uptime);
  }
  assert.deepEqual(waits, [900, 1800, 3600, 7200, 14_400, 21_600, 21_600]);
  assert.deepEqual(journal.quarantined, []);
  const other = { ...attempt('transition'), bootId: '00000000-0000-4000-8000-000000000000' };
  assert.equal(machine.timeOut({ ...journal, current: other }, now, 'x').deferred?.tries, 1);
});

test('keeps a few good livepatches of each kernel for fallback, never a withdrawn one', () => {
  let journal = emptyJournal;
  for (let serial = 1; serial <= 5; serial += 1)
    journal = machine.soaked({ ...journal, current: attempt('soak', serial) }, now);
  assert.deepEqual(
    journal.good.map((it) => it.serial),
    [3, 4, 5],
  );
  const left = overrides.forget(journal, candidate.buildId, new Set([5]));
  assert.deepEqual(
    left.good.map((it) => it.serial),
    [3, 4],
  );
  assert.equal(overrides.forget(left, candidate.buildId, new Set([5])), left);
});

test('numbers events continuously, so that sent ones are known', () => {
  let journal = emptyJournal;
  for (let count = 0; count < limits.events + 5; count += 1) journal = overrides.resume(journal, now);
  assert.equal(journal.events.length, limits.events);
  assert.equal(journal.events.at(-1)?.number, limits.events + 5);
});
