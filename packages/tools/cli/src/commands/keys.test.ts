import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { BUILD_ID, followingHost } from '@kmend/harness/servers';
import { renewRoles } from '@kmend/server';
import { prepareNextKey, prepareRotation } from '@kmend/trust';
import { startWeb } from '@kmend/trust/testing';
import { patchServer } from '../testing/patch-server.ts';
import { keysCommands } from './keys.ts';
import { policyCommands } from './policy.ts';
import { publishCommand } from './publish.ts';

/** A server with one livepatch, and a host that follows it. */
async function setUp(t: TestContext) {
  const world = await patchServer(t, [keysCommands, policyCommands, publishCommand]);
  await world.publish(1);
  const host = followingHost(join(world.home, 'keys', 'root.json'), world.home);
  const follow = () => host.follow(world.url);
  assert.equal(await follow(), 1);
  const keys = (...argv: string[]) => world.kmend('keys', ...argv);
  const keyIds = async (): Promise<Record<string, string>> => {
    const { roles } = JSON.parse((await keys('status', '--json')).out) as { roles: { role: string; keys: string[] }[] };
    return Object.fromEntries(roles.map(({ role, keys: ids }) => [role, ids.join()]));
  };
  return { ...world, follow, keys, keyIds, path: (...parts: string[]) => join(world.home, ...parts) };
}

test('replaces each key in turn, and hosts follow', async (t) => {
  const { keys, keyIds, follow, publish, path } = await setUp(t);
  const kernel = `kernel-${BUILD_ID}`;
  const touched = { root: ['root'], release: ['targets', kernel], snapshot: ['snapshot'], policy: ['policy'] };
  let n = 1;
  for (const [role, expected] of Object.entries({ ...touched, timestamp: ['timestamp'] })) {
    const before = await keyIds();
    const { exitCode, err, out } = await keys('rotate', role, '--yes');
    assert.equal(exitCode, 0, err);
    assert.match(out, /signed and published/);
    const after = await keyIds();
    assert.deepEqual(
      Object.keys(after).filter((it) => after[it] !== before[it]),
      expected.toSorted((a, b) => Object.keys(after).indexOf(a) - Object.keys(after).indexOf(b)),
    );
    for (const it of expected) {
      const name = it === kernel || it === 'targets' ? it : role;
      assert.ok(err.includes(`- key of ${name}  ${before[it]}`), err);
      assert.ok(err.includes(`+ key of ${name}  ${after[it]}`), err);
    }
    assert.equal(await follow(), n, role);
    await publish(++n);
    assert.equal(await follow(), n, `published after ${role}`);
  }
  const retired = await readdir(path('keys', 'retired'));
  assert.deepEqual(retired.map((name) => name.split('-')[0]).sort(), ['release', 'root']);
  for (const name of [...retired.map((it) => join('retired', it)), 'root.key', 'release.key'])
    assert.equal((await stat(path('keys', name))).mode & 0o777, 0o600, name);
  assert.deepEqual(await readdir(path('server', 'keys')), ['policy.key', 'root.json', 'snapshot.key', 'timestamp.key']);
  assert.deepEqual(
    (await readdir(path('keys'))).sort(),
    ['record.json', 'release.key', 'retired', 'root.json', 'root.key'].sort(),
    'nothing half-done is left',
  );
});

test('replaces all keys at once, and a host that was offline follows', async (t) => {
  const { keys, follow, publish } = await setUp(t);
  for (let n = 0; n < 3; n++) {
    const { exitCode, err } = await keys('rotate', 'root', 'release', 'online', '--yes');
    assert.equal(exitCode, 0, err);
  }
  await publish(2);
  assert.equal(await follow(), 2);
});

test('without --yes shows what would change, key by key, and signs and changes nothing', async (t) => {
  const { keys, keyIds, path } = await setUp(t);
  const before = {
    ids: await keyIds(),
    offline: await readdir(path('keys')),
    online: await readdir(path('server', 'keys')),
  };
  const { exitCode, err, out } = await keys('rotate', 'root', 'timestamp');
  assert.deepEqual([exitCode, out], [1, '']);
  assert.ok(err.includes(`- key of root  ${before.ids['root']}\n`), err);
  assert.match(err, /\+ key of root {2}\(a new key\)\n/);
  assert.match(err, /\+ key of timestamp {2}\(a new key\)\n/);
  assert.match(err, / {4}root: version 1 -> 2; holds until 20\d\d-/);
  assert.match(err, /nothing was signed or changed: --yes is missing \[not-confirmed\]\n.*--yes/);
  assert.match((await keys('renew')).err, /no key changes:[\s\S]*nothing was signed/);
  const after = {
    ids: await keyIds(),
    offline: await readdir(path('keys')),
    online: await readdir(path('server', 'keys')),
  };
  assert.deepEqual(after, before);
});

test('renews with the root key in another folder', async (t) => {
  const { keys, keyIds, follow, path } = await setUp(t);
  const before = await keyIds();
  await cp(path('keys', 'root.key'), path('medium', 'root.key'));
  await rm(path('keys', 'root.key'));
  assert.match((await keys('status')).out, /^root +1 .* not here$/m);
  assert.match((await keys('renew', '--yes')).err, /\[keys-missing\]/);
  const { exitCode, err } = await keys('renew', '--yes', '--root-keys', path('medium'));
  assert.equal(exitCode, 0, err);
  assert.match(err, /kernel-[0-9a-f]{40}: version 1 -> 2; holds until/);
  assert.deepEqual(await keyIds(), before);
  assert.equal(await follow(), 1);
});

test('finishes a rotation whose answer was lost when the command is repeated; publishing works meanwhile', async (t) => {
  const { api, keys, keyIds, publish, follow, path } = await setUp(t);
  // The server took it; the operator's machine went down before it knew.
  const operator = await api.operator(path('keys'));
  const release = await prepareNextKey(path('keys'), 'release');
  const rotation = await prepareRotation(operator, { fresh: { release, online: {} } });
  await api.rotate(operator, rotation);
  assert.match((await keys('status')).out, /here, in next\/[\s\S]*repeat the command to finish it/);
  await publish(2);
  assert.equal(await follow(), 2);
  const ids = await keyIds();
  const { exitCode, out } = await keys('rotate', 'release', '--yes');
  assert.equal(exitCode, 0);
  assert.match(out, /finished the interrupted rotation of the release key/);
  assert.deepEqual(await keyIds(), ids, 'not rotated once more');
  assert.deepEqual((await readdir(path('keys'))).includes('next'), false);
  await publish(3);
  assert.equal(await follow(), 3);
});

test('uses the waiting key again after a rotation that never reached the server', async (t) => {
  const { keys, keyIds, follow, path } = await setUp(t);
  const waiting = await prepareNextKey(path('keys'), 'root');
  assert.match((await keys('status')).out, /a new root key is in next\//);
  assert.equal((await keys('rotate', 'root', '--yes')).exitCode, 0);
  assert.equal((await keyIds())['root'], waiting.id);
  assert.equal(await follow(), 1);
});

test('signs no renewal, rotation or livepatch for an attacker who controls the static files', async (t) => {
  const { home, kmend, path, api } = await setUp(t);
  const thief = await patchServer(t, []);
  await cp(join(thief.home, 'server', 'repository'), path('stolen', 'repository'), { recursive: true });
  const web = await startWeb(path('stolen'));
  t.after(() => web.close());
  await cp(path('livepatch-1'), path('livepatch-2'), { recursive: true });
  const keys = await readdir(join(home, 'keys'));
  for (const argv of [
    ['keys', 'renew', '--yes'],
    ['keys', 'rotate', 'timestamp', '--yes'],
    ['keys', 'status'],
    ['policy', 'floor', BUILD_ID, '1', '--yes'],
    ['publish', path('livepatch-2'), '--unproven'],
  ]) {
    const { exitCode, err, out } = await kmend(...argv, '--server', web.url);
    assert.equal(exitCode, 1, argv.join(' '));
    assert.match(err, /is not signed by its key.*\[key-wrong\]/, argv.join(' '));
    assert.equal(out, '');
  }
  assert.ok(!web.log.some((line) => line.includes('/v1/')), 'nothing was sent');
  assert.deepEqual(await readdir(join(home, 'keys')), keys);
  await renewRoles(api, { keys: join(home, 'keys'), sign: true, confirm: () => undefined });
});

test('refuses a withdrawal or downgrade below the floor by the policy key', async (t) => {
  const { kmend, publish, follow, api, path } = await setUp(t);
  await publish(2);
  assert.equal(await follow(), 2);
  const floor = (...argv: string[]) => kmend('policy', 'floor', BUILD_ID, ...argv);
  assert.match((await floor('3', '--yes')).err, /no livepatch with serial 3.*\[not-found\]/);
  const shown = await floor('2');
  assert.deepEqual([shown.exitCode, /floor: serial 2/.test(shown.err)], [1, true], shown.err);
  assert.equal((await floor('2', '--yes')).exitCode, 0);
  assert.match((await kmend('keys', 'status')).out, /floor at serial 2/);
  const policy = (...argv: string[]) => kmend('policy', 'kernel', BUILD_ID, ...argv);
  assert.match(
    (await policy('--withdraw', '2', '--reason', 'x')).err,
    /the floor and cannot be withdrawn.*policy-invalid/,
  );
  assert.match(
    (await policy('--settle', '1')).err,
    /serial 1 is below the floor.*\[policy-invalid\]\n.*kmend policy floor/,
  );
  assert.equal(await follow(), 2);
  await publish(3);
  assert.equal((await policy('--withdraw', '3', '--reason', 'it hangs')).exitCode, 0);
  assert.equal(await follow(), 2, 'what is withdrawn above it falls back to it');
  assert.equal((await floor('none', '--yes')).exitCode, 0);
  assert.equal(await follow(), null);
  assert.equal((await api.kernelPolicy(BUILD_ID)).channels.stable?.settled, 3);
  assert.ok((await readFile(path('keys', 'record.json'), 'utf8')).includes('"3"'));
});
