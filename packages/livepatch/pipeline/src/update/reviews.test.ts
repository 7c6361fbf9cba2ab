import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ReviewStore } from './reviews.ts';

const KEY = 'ab'.repeat(32);
const REVIEW = {
  key: KEY,
  fix: 'net.core.sock.c',
  paths: ['net/core/sock.c'],
  kernel: '6.1.0-47-amd64',
  from: '6.1.170-3',
  to: '6.1.176-1',
  reasons: [{ code: 'lock-protocol', verdict: 'needs-review' as const, message: 'read this' }],
};
const DECISION = { state: 'accepted', by: 'operator', at: '2026-12-01T00:00:00.000Z', reason: 'read' } as const;

async function storeOf(t: TestContext): Promise<{ store: ReviewStore; home: string }> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-reviews-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  return { store: new ReviewStore(home), home };
}

test('keeps a change with its bytes, and what a person decided', async (t) => {
  const { store } = await storeOf(t);
  assert.deepEqual(await store.list(), []);
  const patch = '--- a/x\n+++ b/x\n+\xe9\n';
  await store.ask(REVIEW, patch);
  const asked = await store.open('abab');
  assert.deepEqual([asked.state, await store.patch(asked)], ['open', patch]);
  await store.decide(asked, DECISION);
  const { state, ...decided } = DECISION;
  assert.deepEqual(await store.find(KEY), { ...asked, state, decided });
});

test('asks again, and forgets the decision, where the question is another', async (t) => {
  const { store } = await storeOf(t);
  await store.ask(REVIEW, 'x');
  await store.decide(await store.open(KEY), DECISION);
  await store.ask({ ...REVIEW, reasons: [] }, 'x');
  const again = await store.open(KEY);
  assert.deepEqual([again.state, again.decided], ['open', undefined]);
});

test('lists what waits first, and names a review that is unknown, ambiguous or damaged', async (t) => {
  const { store, home } = await storeOf(t);
  await store.ask(REVIEW, 'x');
  await store.decide(await store.open(KEY), DECISION);
  await store.ask({ ...REVIEW, key: `abab${'0'.repeat(60)}`, fix: 'z' }, 'y');
  assert.deepEqual(
    (await store.list()).map(({ fix, state }) => [fix, state]),
    [
      ['z', 'open'],
      ['net.core.sock.c', 'accepted'],
    ],
  );
  await assert.rejects(store.open('ff'), { code: 'review-unknown' });
  await assert.rejects(store.open('../x'), { code: 'review-unknown' });
  await assert.rejects(store.open('abab'), { code: 'review-ambiguous' });
  const [file = ''] = (await readdir(join(home, 'reviews'))).filter((name) => name.endsWith('.json'));
  await writeFile(join(home, 'reviews', file), '{"schema":');
  await assert.rejects(store.list(), { code: 'review-garbage' });
});
