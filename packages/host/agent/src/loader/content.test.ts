import assert from 'node:assert/strict';
import { test } from 'node:test';
import { code } from '../testing/errors.ts';
import { check, makeHost, never, type TestHost } from '../testing/host.ts';
import { moduleOf } from '../testing/repository.ts';
import { boot } from './boot.ts';

const SOAKED_MS = 2_000_000;
const insmods = (host: TestHost): number => host.kernel.commands.filter((it) => it.startsWith('insmod')).length;

/** A host that runs serial 1, which is published again as serial 2, signed. */
async function withSigned(t: Parameters<typeof makeHost>[0], ms: number): Promise<TestHost> {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(ms);
  host.repository.signed.set(2, 1);
  host.repository.choose(2);
  return host;
}

test('takes a livepatch that was signed again as the newer serial without a load, and re-applies it as such', async (t) => {
  const host = await withSigned(t, SOAKED_MS);
  const before = host.loader.store.journal.current;
  assert.equal(before?.phase, 'good');
  await check(host.loader, never);
  assert.equal(insmods(host), 1);
  const { current, good, events } = host.loader.store.journal;
  assert.deepEqual([current?.serial, current?.phase, current?.module], [2, 'good', moduleOf(1)]);
  assert.equal(current?.since, before?.since);
  assert.equal(events.at(-1)?.code, 'renumbered');
  assert.deepEqual(
    good.map(({ serial, soaked }) => [serial, soaked]),
    [
      [1, true],
      [2, true],
    ],
  );
  assert.equal((await check(host.loader, never)).reason, 'up-to-date');
  await host.kernel.boot();
  await boot(await host.restart());
  assert.equal(host.loader.store.journal.current?.serial, 2);
});

test('continues a soak under the newer serial', async (t) => {
  const host = await withSigned(t, 1_000);
  assert.equal(host.loader.store.journal.current?.phase, 'soak');
  await check(host.loader, never);
  assert.deepEqual([host.loader.store.journal.current?.serial, insmods(host)], [2, 1]);
  assert.equal(await host.advance(SOAKED_MS), 'good');
  assert.deepEqual(
    host.loader.store.journal.good.map(({ serial }) => serial),
    [2],
  );
});

for (const [title, content] of [
  ['another content', 'ef'.repeat(20)],
  ['no build id', ''],
] as const) {
  test(`does not take a module of the same name with ${title} for the livepatch`, async (t) => {
    const host = await makeHost(t);
    host.repository.choose(1);
    await host.kernel.load(moduleOf(1), content);
    await assert.rejects(check(host.loader, never), code('content-differs'));
    assert.equal(host.loader.store.journal.current, null);
    assert.equal(insmods(host), 0);
  });
}

test('does not load content that crashed a host again under a newer serial', async (t) => {
  const host = await withSigned(t, 1_000);
  await host.kernel.boot();
  await boot(await host.restart());
  assert.equal(host.loader.store.journal.quarantined[0]?.code, 'crashed');
  await assert.rejects(check(host.loader, never), code('content-quarantined'));
  assert.equal(insmods(host), 1);
  assert.equal((await check(host.loader, never)).reason, 'quarantined');
  host.repository.choose(3);
  await check(host.loader, never);
  assert.equal(host.loader.store.journal.current?.serial, 3);
});
