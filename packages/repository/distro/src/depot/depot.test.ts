import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256 } from '@kmend/base/node';
import { BUILD_ID, exampleLivepatch, patchOf, RELEASE, writeLivepatch } from '../testing/livepatch.ts';
import { hasCode, world } from '../testing/world.ts';
import { Depot } from './depot.ts';

const A = { fixes: ['CVE-2026-1001'], functions: ['f', 'g'] };
const B = { fixes: ['CVE-2026-1002'], functions: ['h'] };
const C = { fixes: ['CVE-2026-1003'], functions: ['g', 'k'], dependsOn: ['CVE-2026-1001'] };

test('stacks livepatches in the order in which they were added', async (t) => {
  const { depot, take } = await world(t);
  const a = await take(A);
  const b = await take(B);
  const c = await take(C);
  assert.deepEqual(
    [a, b, c].map(({ entry, serial }) => [entry.package, entry.version, entry.below?.package, serial]),
    [
      [`livepatch-${RELEASE}-cve-2026-1001`, '1.1', undefined, 1],
      [`livepatch-${RELEASE}-cve-2026-1002`, '2.1', `livepatch-${RELEASE}-cve-2026-1001`, 2],
      [`livepatch-${RELEASE}-cve-2026-1003`, '3.1', `livepatch-${RELEASE}-cve-2026-1002`, 3],
    ],
  );
  assert.deepEqual(c.entry.on, [a.entry.module]);
  assert.equal(c.entry.overlaps, 1);
  assert.deepEqual(c.stack, { depth: 3, functions: 4, covered: 1, bytes: a.entry.size * 3 });
  const kept = await readFile(depot.modulePath(c.entry));
  assert.equal(sha256(kept), sha256(exampleLivepatch(C).module));
});

test('changes nothing when the same livepatch is added again', async (t) => {
  const { depot, folder, take } = await world(t);
  await take(A);
  const first = await take(B);
  const before = await readFile(join(folder, 'depot/depot.json'), 'utf8');
  const again = await take(B);
  assert.equal(again.unchanged, true);
  assert.equal(again.serial, first.serial);
  assert.equal(await readFile(join(folder, 'depot/depot.json'), 'utf8'), before);
  assert.equal((await depot.kernel(RELEASE)).states.length, 2);
});

test('refuses a livepatch that was built on fixes that are not below it', async (t) => {
  const { take } = await world(t);
  await take(B);
  await assert.rejects(take(C), hasCode('stack-order'));
  await take(A);
  const other = { ...C, on: { 'CVE-2026-1001': sha256('another patch') } };
  await assert.rejects(take(other), hasCode('stack-order'));
  await take({ ...C, on: { 'CVE-2026-1001': patchOf('CVE-2026-1001') } });
});

test('refuses a livepatch that would revert an earlier fix', async (t) => {
  const { take } = await world(t);
  await take(A);
  await assert.rejects(take({ ...C, dependsOn: [] }), hasCode('stack-undoes'));
  await take(C);
  // Built on the first alone, it would undo the second in the function that both change.
  const fourth = { fixes: ['CVE-2026-1004'], functions: ['g'], dependsOn: ['CVE-2026-1001'] };
  await assert.rejects(take(fourth), hasCode('stack-undoes'));
  await take({ ...fourth, dependsOn: ['CVE-2026-1001', 'CVE-2026-1003'] });
});

test('rebuilds the top of the stack, and refuses to rebuild what is below it', async (t) => {
  const { take } = await world(t);
  await take(A);
  await take(B);
  const again = await take({ ...B, build: 2 });
  assert.equal(again.entry.version, '2.2');
  assert.equal(again.entry.below?.version, '1.1');
  assert.equal(again.serial, 3);
  assert.equal(again.stack.depth, 2);
  await assert.rejects(take({ ...A, build: 2 }), hasCode('fix-present'));
});

test('requires all fixes in a cumulative livepatch, then stacks on it', async (t) => {
  const { take } = await world(t);
  await take(A);
  await take(B);
  const lacking = { kind: 'cumulative', fixes: ['CVE-2026-1002'], functions: ['h'] } as const;
  await assert.rejects(take(lacking), hasCode('cumulative-lacks-fixes'));
  const fixes = ['CVE-2026-1001', 'CVE-2026-1002', 'newer'];
  const all = await take({ kind: 'cumulative', fixes, functions: ['f', 'g', 'h', 'n'] });
  assert.equal(all.entry.package, `livepatch-${RELEASE}-cumulative`);
  assert.equal(all.entry.version, '3.1');
  assert.equal(all.entry.position, 3);
  assert.deepEqual(all.entry.replaces, [
    { package: `livepatch-${RELEASE}-cve-2026-1001`, version: '1.1' },
    { package: `livepatch-${RELEASE}-cve-2026-1002`, version: '2.1' },
  ]);
  assert.equal(all.stack.depth, 1);
  const next = await take(C);
  assert.equal(next.entry.version, '4.1');
  assert.deepEqual(next.entry.on, [all.entry.module]);
  assert.deepEqual(next.entry.below, { package: all.entry.package, version: '3.1' });
  await assert.rejects(take({ ...A, build: 2 }), hasCode('fix-present'));
});

test('withdraws the newest and publishes it again at a higher version', async (t) => {
  const { depot, take } = await world(t);
  await assert.rejects(depot.withdraw(RELEASE), hasCode('kernel-unknown'));
  await take(A);
  await take(B);
  const { entry, serial } = await depot.withdraw(RELEASE);
  assert.equal(entry?.package, `livepatch-${RELEASE}-cve-2026-1002`);
  assert.equal(serial, 3);
  const { states } = await depot.kernel(RELEASE);
  assert.deepEqual(
    states.map((state) => [state.serial, state.withdrawn, state.head?.version]),
    [
      [1, false, '1.1'],
      [2, true, '2.1'],
      [3, false, '1.1'],
    ],
  );
  assert.equal((await take(B)).entry.version, '2.2');
  await depot.withdraw(RELEASE);
  await depot.withdraw(RELEASE);
  assert.equal((await depot.kernel(RELEASE)).states.at(-1)?.head, undefined);
  await assert.rejects(depot.withdraw(RELEASE), hasCode('nothing-published'));
});

test('refuses ambiguous names', async (t) => {
  const { take } = await world(t);
  await take({ fixes: ['a_b'] });
  await assert.rejects(take({ fixes: ['a-b'] }), hasCode('name-taken'));
  await assert.rejects(take({ fixes: ['Cumulative'] }), hasCode('name-taken'));
  const short = { buildId: 'cd'.repeat(20), release: '6.1.0' };
  await assert.rejects(take({ fixes: ['47-amd64'], kernel: short }), hasCode('name-taken'));
  const rebuilt = { buildId: 'cd'.repeat(20), release: RELEASE };
  await assert.rejects(take({ fixes: ['c'], kernel: rebuilt }), hasCode('kernel-ambiguous'));
});

test('refuses a livepatch with several fixes, without proof or without manifest', async (t) => {
  const { depot, folder, take } = await world(t);
  await assert.rejects(take({ fixes: ['a', 'b'] }), hasCode('stacked-several'));
  await assert.rejects(take({ fixes: ['a'], functions: ['f\nmodule evil'] }), hasCode('manifest-invalid'));
  const many = Array.from({ length: 9000 }, (_, n) => `a_function_with_a_rather_long_name_${n}`);
  await assert.rejects(take({ fixes: ['a'], functions: many }), hasCode('manifest-invalid'));
  await assert.rejects(depot.take(await writeLivepatch(folder, A)), hasCode('livepatch-unproven'));
  assert.deepEqual(await depot.kernels(), []);
});

test('reports a missing, damaged or existing depot', async (t) => {
  const { folder, clock } = await world(t);
  await assert.rejects(Depot.create(join(folder, 'depot'), { clock }), hasCode('depot-exists'));
  await assert.rejects(Depot.open(join(folder, 'none'), { clock }), hasCode('depot-missing'));
  await writeFile(join(folder, 'depot/depot.json'), '{"schema":"kmend.depot/1","kernels":[{}]}');
  await assert.rejects(Depot.open(join(folder, 'depot'), { clock }), hasCode('depot-damaged'));
});

test('accepts a share of hosts only as a whole percentage', async (t) => {
  const { depot, take } = await world(t);
  await take(A);
  assert.equal((await depot.phase(RELEASE, 10)).phase, 10);
  assert.equal((await depot.phase(RELEASE, 100)).phase, undefined);
  for (const wrong of [-1, 101, 0.5]) await assert.rejects(depot.phase(RELEASE, wrong), hasCode('setting-invalid'));
});

test('marks a fresh kernel as needing none until its first livepatch, or withdrawal', async (t) => {
  const { depot, take } = await world(t);
  const fresh = { buildId: BUILD_ID, release: RELEASE, version: '6.1.170-3' };
  const said = await depot.needsNone(fresh);
  assert.deepEqual([said.serial, said.notNeeded, said.head], [1, true, undefined]);
  assert.equal((await depot.needsNone(fresh)).serial, 1, 'nothing new was said');
  await assert.rejects(depot.needsNone({ ...fresh, buildId: 'cd'.repeat(20) }), hasCode('kernel-ambiguous'));
  assert.deepEqual(await depot.withdraw(RELEASE), { entry: undefined, serial: 2 });
  await assert.rejects(depot.withdraw(RELEASE), hasCode('nothing-published'));
  assert.equal((await depot.needsNone(fresh)).serial, 3);
  assert.equal((await take(A)).serial, 4);
  await assert.rejects(depot.needsNone(fresh), hasCode('livepatch-published'));
  await depot.withdraw(RELEASE);
  const { states } = await depot.kernel(RELEASE);
  assert.deepEqual(
    states.map(({ notNeeded, withdrawn }) => [notNeeded ?? false, withdrawn]),
    [
      [true, true],
      [false, false],
      [true, false],
      [false, true],
      [false, false],
    ],
    'without its livepatches a kernel is not one that needs none',
  );
});
