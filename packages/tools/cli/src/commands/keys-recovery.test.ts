import assert from 'node:assert/strict';
import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { BUILD_ID, followingHost } from '@kmend/harness/servers';
import { loadOnlineKeys, loadReleaseKey } from '@kmend/trust';
import { openForge, signOnline, signRole, startWeb } from '@kmend/trust/testing';
import { type PatchServer, patchServer } from '../testing/patch-server.ts';
import { keysCommands } from './keys.ts';
import { policyCommands } from './policy.ts';

// The steps of docs/trust.md, "When a key was stolen", as they are written there.

const FAR = Number.MAX_SAFE_INTEGER;

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

async function setUp(t: TestContext) {
  const world = await patchServer(t, [keysCommands, policyCommands]);
  for (const n of [1, 2]) await world.publish(n);
  const path = (...parts: string[]): string => join(world.home, ...parts);
  const host = followingHost(path('keys', 'root.json'), world.home);
  assert.equal(await host.follow(world.url), 2);
  return { world, path, host };
}

/**
 * Everything that someone with the three online keys can do to hosts that ask a mirror of theirs: far ahead, and
 * downgraded.
 */
async function fastForward(world: PatchServer, directory: string): Promise<void> {
  const repository = join(world.home, 'server', 'repository');
  const keys = await loadOnlineKeys(join(world.home, 'server', 'keys'));
  await cp(repository, join(directory, 'repository'), { recursive: true });
  const forge = await openForge(repository, join(directory, 'repository'));
  const meta = await signRole(forge, 'policy', keys.policy, (signed) => {
    signed.version = FAR;
  });
  await signOnline(forge, keys, { meta, snapshotVersion: FAR, timestampVersion: FAR });
}

test('recovers from stolen online keys, with hosts that were fast-forwarded', async (t) => {
  const { world, path, host } = await setUp(t);
  await fastForward(world, path('mirror'));
  const web = await startWeb(path('mirror'));
  t.after(() => web.close());
  await host.check(web.url);
  await assert.rejects(host.check(world.url), withCode('repository-rollback'), 'lost without new keys');
  // 1. and 2.: the server, set up again, with its folder from a backup and without the operator's old token.
  const again = await world.restart(() => rm(path('server', 'operator-token')));
  await assert.rejects(world.api.fleetPolicy(), 'the old server is gone');
  // 3.
  const rotated = await again.kmend('keys', 'rotate', 'online', '--yes');
  assert.equal(rotated.exitCode, 0, rotated.err);
  // 4.
  assert.equal((await again.kmend('policy', 'kernel', BUILD_ID)).exitCode, 0);
  assert.equal(await host.follow(again.url), 2);
  await again.publish(3);
  assert.equal(await host.follow(again.url), 3);
  await fastForwardAgain(web.url, host);
});

/** The thief's mirror still serves, but its keys no longer count. */
async function fastForwardAgain(url: string, host: ReturnType<typeof followingHost>): Promise<void> {
  await assert.rejects(host.check(url), withCode('repository-unsigned'));
}

test('recovers a fast-forwarded server folder without a backup', async (t) => {
  const { world, path, host } = await setUp(t);
  const again = await world.restart(async () => {
    await fastForward(world, path('changed'));
    await rm(path('server', 'repository'), { recursive: true });
    await cp(path('changed', 'repository'), path('server', 'repository'), { recursive: true });
  });
  await host.check(again.url);
  await assert.rejects(again.publish(3), 'it cannot even publish');
  const rotated = await again.kmend('keys', 'rotate', 'online', '--yes');
  assert.equal(rotated.exitCode, 0, rotated.err);
  const status = await again.kmend('keys', 'status', '--json');
  const versions = (JSON.parse(status.out) as { roles: { role: string; version: number }[] }).roles;
  assert.ok(
    versions.every(({ version }) => version < 100),
    status.out,
  );
  assert.equal(await host.follow(again.url), 2);
  await rm(path('livepatch-3'), { recursive: true });
  await again.publish(3);
  assert.equal(await host.follow(again.url), 3);
});

test('recovers from a stolen release key that published livepatches', async (t) => {
  const { world, path, host } = await setUp(t);
  // With the operator's token besides, the thief publishes as the owner would.
  await mkdir(path('thief'));
  for (const name of ['release.key', 'root.json']) await cp(path('keys', name), path('thief', name));
  await world.publish(3, path('thief'));
  assert.equal(await host.follow(world.url), 3, 'release key and operator token together suffice');
  // 1.
  const again = await world.restart(() => rm(path('server', 'operator-token')));
  // 2.
  const status = await again.kmend('keys', 'status');
  assert.match(status.out, /kernel-[0-9a-f]{40}: not signed on this machine: serial 3$/m);
  const refused = await again.kmend('keys', 'rotate', 'release', '--yes');
  assert.deepEqual(
    [refused.exitCode, /not signed on this machine: (ab){20}\/3 .*\[livepatch-foreign\]/.test(refused.err)],
    [1, true],
  );
  assert.match(refused.err, /--keep BUILD-ID\/SERIAL.*--drop/);
  // 3.
  const drop = ['--drop', `${BUILD_ID}/3`, '--reason', 'not ours'];
  const rotated = await again.kmend('keys', 'rotate', 'release', ...drop, '--yes');
  assert.equal(rotated.exitCode, 0, rotated.err);
  assert.match(rotated.err, /DROPS serial 3/);
  // 4.
  assert.equal(await host.follow(again.url), null, 'settled nowhere any more');
  assert.deepEqual(await host.withdrawn(again.url), [3], 'hosts that have it revert it');
  assert.equal((await again.kmend('policy', 'kernel', BUILD_ID, '--settle', '2')).exitCode, 0);
  assert.equal(await host.follow(again.url), 2);
  await assert.rejects(again.publish(5, path('thief')), withCode('key-wrong'));
  // Serial 3 is never given again.
  await again.publish(4);
  assert.equal(await host.follow(again.url), 4);
  const { roles } = JSON.parse((await again.kmend('keys', 'status', '--json')).out) as {
    roles: { role: string; foreign?: number[] }[];
  };
  assert.deepEqual(
    roles.flatMap(({ foreign = [] }) => foreign),
    [],
  );
});

test('recovers from both at once, in one command', async (t) => {
  const { world, path, host } = await setUp(t);
  await fastForward(world, path('mirror'));
  const web = await startWeb(path('mirror'));
  t.after(() => web.close());
  await host.check(web.url);
  const before = await loadReleaseKey(path('keys'));
  const rotated = await world.kmend('keys', 'rotate', 'release', 'online', '--yes');
  assert.equal(rotated.exitCode, 0, rotated.err);
  assert.equal(await host.follow(world.url), 2);
  assert.notEqual((await loadReleaseKey(path('keys'))).id, before.id);
});

test('replaces a lost release key with the root key', async (t) => {
  const { world, path, host } = await setUp(t);
  await rm(path('keys', 'release.key'));
  assert.match((await world.kmend('keys', 'status')).out, /^targets .* not here$/m);
  const rotated = await world.kmend('keys', 'rotate', 'release', '--yes');
  assert.equal(rotated.exitCode, 0, rotated.err);
  await world.publish(3);
  assert.equal(await host.follow(world.url), 3);
});
