import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { TrustError } from '@kmend/trust';
import * as machine from '../state/machine.ts';
import { stateOf } from '../state/transitions.ts';
import { code } from '../testing/errors.ts';
import { check, makeHost, never, type TestHost, view } from '../testing/host.ts';
import { BUILD_ID } from '../testing/kernel.ts';
import { boot, reconcileBoot } from './boot.ts';
import { commit } from './context.ts';

const insmods = (host: TestHost): number => host.kernel.commands.filter((it) => it.startsWith('insmod')).length;

test('quarantines a livepatch at the boot after a crash in its soak, and names what pstore holds', async (t) => {
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

test('re-applies the livepatch with a new soak after an orderly reboot in its soak', async (t) => {
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

test('re-applies a good livepatch from the cache after a reboot, without the network', async (t) => {
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

test('re-applies after power cuts in a later soak until the third in a row', async (t) => {
  const host = await makeHost(t, { soakSeconds: 10 });
  host.repository.choose(1);
  await check(host.loader, never);
  assert.equal(await host.advance(20_000), 'good');
  const cut = async (): Promise<unknown> => {
    await host.kernel.boot();
    return boot(await host.restart());
  };
  // Long after the soak whatever took the host down is no doing of the livepatch.
  assert.deepEqual(await cut(), { outcome: 'loading', crashed: false });
  for (const count of [1, 2]) {
    // In the transition, then in the soak.
    await host.advance(count === 1 ? 0 : 2_000);
    assert.deepEqual(await cut(), { outcome: 'loading', crashed: false });
    const said = host.loader.store.journal.events.findLast((it) => it.code === 'went-down');
    assert.match(said?.message ?? '', new RegExp(`${count} of 2 in a row`));
    assert.deepEqual(host.loader.store.journal.quarantined, []);
  }
  await host.advance(2_000);
  await commit(host.loader, machine.markShutdown);
  for (const _ of [1, 2, 3]) {
    assert.deepEqual(await cut(), { outcome: 'loading', crashed: false });
    await host.advance(2_000);
  }
  assert.deepEqual(await cut(), { outcome: 'nothing-good', crashed: true });
  assert.equal(host.loader.store.journal.quarantined[0]?.code, 'crashed');
});

test('quarantines nothing while modules_disabled is set, and retries at the next boot', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const disabled = '/proc/sys/kernel/modules_disabled';
  await host.kernel.write(disabled, '1\n');
  await assert.rejects(check(host.loader, never), code('modules-disabled'));
  // Switched between the look and the load.
  await host.kernel.write(disabled, '0\n');
  host.kernel.refusal = 'Operation not permitted';
  host.kernel.aroundRun = (program) => {
    if (program === 'insmod') writeFileSync(host.kernel.path(disabled), '1\n');
  };
  await assert.rejects(check(host.loader, never), code('modules-disabled'));
  host.kernel.aroundRun = () => {};
  await host.kernel.write(disabled, '0\n');
  await assert.rejects(check(host.loader, never), code('load-not-permitted'));
  assert.deepEqual(host.loader.store.journal.quarantined, []);
  host.kernel.refusal = undefined;
  assert.equal((await check(host.loader, never)).action, 'load');
});

test('ignores the journal of another machine', async (t) => {
  const host = await makeHost(t);
  const machineIs = (digit: string): Promise<void> => host.kernel.write('/etc/machine-id', `${digit.repeat(32)}\n`);
  await machineIs('a');
  await host.restart();
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  // The image was taken in the soak.
  await host.kernel.boot();
  await machineIs('b');
  assert.deepEqual(await boot(await host.restart()), { outcome: 'nothing-good', crashed: false });
  const { journal } = host.loader.store;
  assert.deepEqual([journal.quarantined, journal.events.map((it) => it.code)], [[], ['other-machine']]);
  assert.equal((await check(host.loader, never)).action, 'load');
  // An image that has no id yet says nothing of whose it is.
  await host.kernel.write('/etc/machine-id', 'uninitialized\n');
  assert.equal((await host.restart()).store.journal.current?.phase, 'transition');
});

test('does not load a good livepatch of another kernel at boot', async (t) => {
  const host = await makeHost(t, { soakSeconds: 0 });
  host.repository.choose(1);
  await check(host.loader, never);
  await host.advance(1_000);
  await host.kernel.boot();
  const loader = { ...(await host.restart()), buildId: 'cd'.repeat(20) };
  assert.deepEqual(await boot(loader), { outcome: 'nothing-good', crashed: false });
  assert.notEqual(loader.buildId, BUILD_ID);
});

test('continues from the kernel’s state after the agent died between journal and kernel', async (t) => {
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
  assert.equal(stateOf(host.loader.store.journal), 'idle');
  await commit(host.loader, (journal, now) => machine.beginLoad(journal, candidate, now));
  await host.kernel.load(module);
  await reconcileBoot(await host.restart());
  assert.equal(stateOf(host.loader.store.journal), 'transition');
});

test('adopts a loaded livepatch as unverified when the journal is lost', async (t) => {
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
