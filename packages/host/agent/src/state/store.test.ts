import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Files } from '../edges/edges.ts';
import { readBootId } from '../kernel/facts.ts';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { withEvent } from './journal.ts';
import * as machine from './machine.ts';
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

test('keeps the journal of a later agent', () => {
  assert.throws(() => parseJournal('{"schema":"kmend.agent-journal/2"}'), code('journal-newer'));
});

const mayMount = process.getuid?.() === 0;

test('reports disk-full on a full file system, keeps the old journal and leaves nothing behind', {
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

const CLAIM = '/run/kmend-agent/loader/claim';
const candidate = {
  buildId: 'ab'.repeat(20),
  serial: 3,
  id: '0123456789ab',
  module: 'kmend_0123456789ab',
  origin: 'check',
  sha256: null,
  logFrom: 0,
} as const;
const now = { at: '2026-11-01T00:00:00Z', uptime: 100 };

test('announces a load to the packages’ loader before it asks the kernel, and announces its end', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const bootId = await readBootId(kernel.edges());
  const claim = (): Promise<string | undefined> => kernel.edges().files.text(CLAIM);
  const store = await openJournal(kernel.edges());
  assert.equal(await claim(), undefined);
  await store.update((journal) => machine.beginLoad(journal, { ...candidate, bootId }, now));
  assert.equal(await claim(), 'kmend-agent-claim 1\nmodule kmend_0123456789ab\nstate loading\n');
  await store.update((journal) => machine.loaded(journal, now));
  assert.equal(await claim(), 'kmend-agent-claim 1\nmodule kmend_0123456789ab\nstate loaded\n');
  // The next run of the agent corrects what was written there.
  await kernel.write(CLAIM, `${await claim()}more\n`);
  await openJournal(kernel.edges());
  assert.equal(await claim(), 'kmend-agent-claim 1\nmodule kmend_0123456789ab\nstate loaded\n');
  const failure = { code: 'load-failed', message: 'no', previousInForce: false } as const;
  await store.update((journal) => machine.fail(journal, now, failure));
  assert.equal(await claim(), undefined);
});

test('ignores a claim of another boot', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const store = await openJournal(kernel.edges());
  const bootId = '11111111-2222-3333-4444-555555555555';
  await store.update((journal) => machine.beginLoad(journal, { ...candidate, bootId }, now));
  await openJournal(kernel.edges());
  assert.equal(await kernel.edges().files.text(CLAIM), undefined);
});

test('withdraws the claim of a load whose journal cannot be written', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const edges = kernel.edges();
  const bootId = await readBootId(edges);
  const files: Files = {
    ...edges.files,
    async writeAtomic(path, data, mode) {
      if (path.endsWith('journal.json')) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      await edges.files.writeAtomic(path, data, mode);
    },
  };
  const store = await openJournal({ ...edges, files });
  await assert.rejects(
    store.update((journal) => machine.beginLoad(journal, { ...candidate, bootId }, now)),
    code('disk-full'),
  );
  assert.equal(await edges.files.text(CLAIM), undefined);
});
