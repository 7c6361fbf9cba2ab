import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TrustError } from '@kmend/trust';
import * as machine from '../state/machine.ts';
import { code } from '../testing/errors.ts';
import { check, makeHost, never, type TestHost, view } from '../testing/host.ts';
import { BUILD_ID } from '../testing/kernel.ts';
import { boot, reconcileBoot } from './boot.ts';
import { commit } from './context.ts';

const insmods = (host: TestHost): number => host.kernel.commands.filter((it) => it.startsWith('insmod')).length;

test('a crash in the soak: quarantined and said at the next boot, with what pstore holds; nothing is loaded', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await host.kernel.boot();
  await host.kernel.write('/sys/fs/pstore/dmesg-efi-1', '');
  assert.deepEqual(await boot(await host.restart()), { outcome: 'nothing-good', crashed: true });
  assert.equal(insmods(host), 1);
  const { journal } = host.loader.store;
  assert.equal(journal.quarantined[0]?.code, 'crashed');
  assert.match(journal.events.at(-1)?.message ?? '', /dmesg-efi-1/);
  assert.equal((await check(host.loader, never)).reason, 'quarantined');
});

test('a clean reboot in the soak is no crash: the livepatch is back, and its soak begins again', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await commit(host.loader, machine.markShutdown);
  await host.kernel.boot();
  assert.deepEqual(await boot(await host.restart()), { outcome: 'loading', crashed: false });
  assert.equal(await host.advance(1_000), 'soak');
  await host.kernel.boot();
  assert.deepEqual(await boot(await host.restart()), { outcome: 'nothing-good', crashed: true });
  await host.kernel.boot();
  assert.deepEqual(await boot(await host.restart()), { outcome: 'nothing-good', crashed: false });
});

test('a reboot with a good livepatch: it is back from the cache, without the network', async (t) => {
  const host = await makeHost(t, { soakSeconds: 10 });
  host.repository.choose(1);
  await check(host.loader, never);
  assert.equal(await host.advance(20_000), 'good');
  await host.kernel.boot();
  host.repository.failure = new TrustError('repository-unreachable', 'down');
  assert.deepEqual(await boot(await host.restart()), { outcome: 'loading', crashed: false });
  assert.equal(await host.advance(1_000), 'soak');
  // A second life of the agent in this boot finds it as it is.
  await reconcileBoot(await host.restart());
  assert.equal(host.loader.store.journal.current?.phase, 'soak');
  await assert.rejects(check(host.loader, never), code('repository-unreachable'));
});

test('a good livepatch of another kernel is not loaded at boot', async (t) => {
  const host = await makeHost(t, { soakSeconds: 0 });
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await host.kernel.boot();
  const loader = { ...(await host.restart()), buildId: 'cd'.repeat(20) };
  assert.deepEqual(await boot(loader), { outcome: 'nothing-good', crashed: false });
  assert.notEqual(loader.buildId, BUILD_ID);
});

test('an agent that died between journal and kernel goes on by what the kernel shows', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const { repository } = host;
  const verified = await repository.fetchLivepatch(BUILD_ID, 1);
  const { id, module } = verified.target;
  const { bootId } = host.loader;
  const candidate = {
    buildId: BUILD_ID,
    serial: 1,
    id,
    module,
    bootId,
    origin: 'check',
    logFrom: 0,
    sha256: verified.sha256,
  } as const;
  await commit(host.loader, (journal, now) => machine.beginLoad(journal, candidate, now));
  await reconcileBoot(await host.restart());
  assert.equal(machine.stateOf(host.loader.store.journal), 'idle');
  await commit(host.loader, (journal, now) => machine.beginLoad(journal, candidate, now));
  await host.kernel.load(module);
  await reconcileBoot(await host.restart());
  assert.equal(machine.stateOf(host.loader.store.journal), 'transition');
});

test('a lost journal: what is loaded is adopted, unverified, not loaded twice', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await host.kernel.write('/var/lib/kmend-agent/loader/journal.json', '{"schema":"kmend.agent-jou');
  await host.restart();
  assert.equal(host.loader.store.journal.events[0]?.code, 'journal-damaged');
  assert.equal((await check(host.loader, never)).action, 'load');
  assert.equal(await host.advance(1_000), 'soak');
  assert.equal(insmods(host), 1);
  assert.equal((await view(host)).status.verified.state, 'unverified');
});
