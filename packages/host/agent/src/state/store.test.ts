import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { withEvent } from './journal.ts';
import { openJournal, parseJournal } from './store.ts';

const event = { at: '2026-11-01T00:00:00Z', code: 'resumed', message: 'y' } as const;

test('keeps a change over a restart, and drops one that throws', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const store = await openJournal(kernel.edges());
  await Promise.all([1, 2, 3].map(() => store.update((journal) => withEvent(journal, event))));
  await assert.rejects(
    store.update(() => {
      throw new Error('no');
    }),
  );
  assert.equal((await openJournal(kernel.edges())).journal.events.length, 3);
});

test('moves a damaged journal aside and reports it', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  for (const text of ['', '{', '{"schema":"kmend.agent-journal/1"}', 'null', '\0\0\0']) {
    await kernel.write('/var/lib/kmend-agent/loader/journal.json', text);
    const { journal } = await openJournal(kernel.edges());
    assert.equal(journal.events[0]?.code, 'journal-damaged');
    assert.deepEqual(readdirSync(kernel.path('/var/lib/kmend-agent/loader')), ['journal.json.damaged']);
  }
});

test('the journal of a later agent is not thrown away', () => {
  assert.throws(() => parseJournal('{"schema":"kmend.agent-journal/2"}'), code('journal-newer'));
});

const mayMount = process.getuid?.() === 0;

test('a full file system: disk-full, the old journal stays whole, nothing is left behind', {
  skip: !mayMount,
}, async (t) => {
  const kernel = await TestKernel.make();
  const state = kernel.path('/var/lib/kmend-agent/loader');
  mkdirSync(state, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', state]);
  t.after(async () => {
    execFileSync('umount', [state]);
    await kernel.remove();
  });
  const store = await openJournal(kernel.edges());
  await store.update((journal) => withEvent(journal, event));
  writeFileSync(`${state}/filler`, '');
  assert.throws(() => writeFileSync(`${state}/filler`, Buffer.alloc(1_000_000)));
  const long = { ...event, message: 'z'.repeat(2000) };
  const grow = () => store.update((journal) => Array(20).fill(long).reduce(withEvent, journal));
  await assert.rejects(grow(), code('disk-full'));
  assert.equal(store.journal.events.length, 1);
  assert.deepEqual(readdirSync(state).sort(), ['filler', 'journal.json']);
  assert.equal((await openJournal(kernel.edges())).journal.events.length, 1);
  writeFileSync(`${state}/filler`, '');
  assert.equal((await grow()).events.length, 21);
});
