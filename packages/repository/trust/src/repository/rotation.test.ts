import assert from 'node:assert/strict';
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { kernelRole, type RotateRequest } from '@kmend/protocol';
import { Metadata, MetadataKind } from '@tufjs/models';
import { openRepositoryClient } from '../client/client.ts';
import { generateKey, type SigningKey } from '../keys/key.ts';
import { loadNextOnlineKeys } from '../keys/next.ts';
import { loadOnlineKeys, loadRootKey } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { openOperator } from '../operator/operator.ts';
import { prepareFloor, prepareRotation, type RotationOptions } from '../operator/rotate.ts';
import { asModel, readSigned, type SignedJson } from '../testing/forge.ts';
import { startWeb } from '../testing/web.ts';
import { BUILD_ID, makeWorld, OTHER_BUILD_ID, shiftedClock } from '../testing/world.ts';
import { metadataFile, TIMESTAMP_FILE } from './layout.ts';
import { prepareOnline } from './online.ts';
import { openRepository } from './repository.ts';
import { verifyRotation } from './rotation.ts';
import { beginRotation } from './rotation-log.ts';

const { signal } = new AbortController();
const DAY = 86_400_000;

async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  for (const n of [1, 2]) await world.publish(n);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const operator = (clock = systemClock) =>
    openOperator({ directory: world.path('offline'), url: web.url, signal, clock });
  const host = (directory = 'cache') =>
    openRepositoryClient({ directory: world.path(directory), root: world.created.root, url: web.url });
  return {
    ...world,
    operator,
    host,
    file: (name: string) => join(world.created.repository, name),
    keyDirectory: world.path('online'),
    async signed(options: RotationOptions): Promise<RotateRequest> {
      return (await prepareRotation(await operator(), options)).sign();
    },
    reopen: () =>
      openRepository({ repository: world.created.repository, keyDirectory: world.path('online'), clock: systemClock }),
  };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

/** A role's text with a change, signed again. */
function changed(
  text: string | undefined,
  change: (signed: SignedJson['signed']) => void,
  ...keys: SigningKey[]
): string {
  const json = JSON.parse(text ?? '') as SignedJson;
  change(json.signed);
  const data = asModel(json);
  // Two calls: the models type each kind by itself.
  return json.signed._type === 'root'
    ? signedText(Metadata.fromJSON(MetadataKind.Root, data), ...keys)
    : signedText(Metadata.fromJSON(MetadataKind.Targets, data), ...keys);
}

test('extends root, targets and kernel roles in a renewal, and changes no key', async (t) => {
  const { repository, operator } = await setUp(t);
  const renewal = await prepareRotation(await operator(shiftedClock(0)), { fresh: { online: {} } });
  assert.ok(renewal.plan.keys.every(({ change }) => change === 'kept'));
  assert.deepEqual(
    renewal.plan.roles.map(({ role, to }) => [role, to]),
    [
      ['root', 2],
      ['targets', 3],
      [kernelRole(BUILD_ID), 3],
    ],
  );
  const request = await renewal.sign();
  await repository.acceptRotation(request);
  await assert.rejects(repository.acceptRotation(request), withCode('publication-outdated'));
  const ages = new Map((await repository.ages()).map((age) => [age.role, age]));
  assert.equal(ages.get('root')?.version, 2);
  assert.equal((await repository.manifest(BUILD_ID, 1))?.kernel.buildId, BUILD_ID);
  const far = await prepareRotation(await operator(shiftedClock(100 * DAY)), { fresh: { online: {} } });
  await assert.rejects(repository.acceptRotation(await far.sign()), withCode('publication-invalid'), 'a clock ahead');
});

test('refuses a rotation that the owner did not sign, and changes nothing', async (t) => {
  const { repository, signed, path, releaseKey } = await setUp(t);
  const rootKey = await loadRootKey(path('offline'));
  const stranger = generateKey('root').key;
  const renewal = await signed({ fresh: { online: {} } });
  const { root, targets } = renewal.metadata;
  const kernel = kernelRole(BUILD_ID);
  const role = renewal.metadata[kernel];
  const refused: readonly (readonly [string, string, Record<string, string>])[] = [
    ['root by another key', 'publication-unsigned', { root: changed(root, () => undefined, stranger) }],
    [
      'a root that names a key of its own, not signed by the one before',
      'publication-unsigned',
      {
        root: changed(
          root,
          ({ keys, roles }) => {
            keys[stranger.id] = stranger.public;
            Object.assign(roles, { root: { keyids: [stranger.id], threshold: 1 } });
          },
          stranger,
        ),
      },
    ],
    [
      'online keys that the server does not have',
      'key-wrong',
      {
        root: changed(
          root,
          ({ keys, roles }) => {
            keys[stranger.id] = stranger.public;
            Object.assign(roles, { timestamp: { keyids: [stranger.id], threshold: 1 } });
          },
          rootKey,
        ),
      },
    ],
    [
      'a release key without targets by it',
      'publication-unsigned',
      {
        root: changed(
          root,
          ({ keys, roles }) => {
            keys[stranger.id] = stranger.public;
            Object.assign(roles, { targets: { keyids: [stranger.id], threshold: 1 } });
          },
          rootKey,
        ),
      },
    ],
    [
      'another threshold',
      'publication-invalid',
      { root: changed(root, ({ roles }) => void Object.assign(roles['targets'] ?? {}, { threshold: 2 }), rootKey) },
    ],
    [
      'a delegation that is gone',
      'publication-invalid',
      { targets: changed(targets, ({ delegations }) => void delegations.roles.pop(), releaseKey) },
    ],
    [
      'a delegation that reaches further',
      'publication-invalid',
      {
        targets: changed(
          targets,
          ({ delegations }) => void Object.assign(delegations.roles[1] ?? {}, { paths: ['*'] }),
          releaseKey,
        ),
      },
    ],
    [
      'a livepatch that comes',
      'publication-invalid',
      {
        [kernel]: changed(
          role,
          (it) => void Object.assign(it.targets, { 'kernels/x/9/livepatch.ko': Object.values(it.targets)[0] }),
          releaseKey,
        ),
      },
    ],
    [
      'a serial that could be given again',
      'publication-invalid',
      {
        [kernel]: changed(
          role,
          (it) => {
            for (const name of Object.keys(it.targets)) if (name.includes('/2/')) delete it.targets[name];
          },
          releaseKey,
        ),
      },
    ],
    ['a kernel that is not there', 'publication-invalid', { [kernelRole(OTHER_BUILD_ID)]: role ?? '' }],
    ['the policy role', 'publication-invalid', { policy: role ?? '' }],
  ];
  const { timestampText } = repository;
  for (const [what, code, metadata] of refused) {
    await assert.rejects(repository.acceptRotation({ metadata }), withCode(code), what);
  }
  assert.equal(repository.timestampText, timestampText);
});

test('refuses a floor without a published livepatch', async (t) => {
  const { repository, signed, operator, releaseKey } = await setUp(t);
  const kernel = kernelRole(BUILD_ID);
  const request = await signed({ fresh: { online: {} } });
  const floored = (floor: unknown) =>
    changed(request.metadata[kernel], (it) => void Object.assign(it, { kmend: { floor } }), releaseKey);
  await assert.rejects(
    repository.acceptRotation({ metadata: { [kernel]: floored(7) } }),
    withCode('publication-invalid'),
  );
  await assert.rejects(
    repository.acceptRotation({ metadata: { [kernel]: floored('x') } }),
    withCode('repository-garbage'),
  );
  await repository.acceptRotation(await (await prepareFloor(await operator(), BUILD_ID, 2)).sign());
  await assert.rejects(
    repository.setKernelPolicy(BUILD_ID, (it) => ({ ...it, withdrawn: [{ serial: 2, reason: 'x' }] })),
    withCode('policy-invalid'),
  );
});

/** A rotation of all online keys that was decided, and of which nothing came to pass yet. */
async function begun(t: TestContext) {
  const world = await setUp(t);
  const { repository, signed, created, keyDirectory } = world;
  const online = await repository.prepareKeys(ROLES);
  const request = await signed({ fresh: { online } });
  const { state } = repository;
  const current = await loadOnlineKeys(keyDirectory);
  const next = await loadNextOnlineKeys(keyDirectory);
  const { keys, metadata, root = '' } = await verifyRotation(state, request, { current, next }, systemClock);
  const input = { repository: created.repository, keys, clock: systemClock, current: state, metadata };
  const { text: timestamp } = await prepareOnline({ ...input, replaced: current });
  const rotation = { timestamp, root: { version: 2, text: root }, promote: [...ROLES] };
  await beginRotation(keyDirectory, rotation);
  return { ...world, timestamp, root, old: current };
}

const ROLES = ['snapshot', 'timestamp', 'policy'] as const;

test('keeps an interrupted rotation valid for hosts at every step, and finishes it at the next start', async (t) => {
  const steps = ['decided', 'timestamp', 'root', 'a key'];
  for (const last of steps) {
    const { file, timestamp, root, host, path, reopen, old, keyDirectory } = await begun(t);
    const done = steps.slice(0, steps.indexOf(last) + 1);
    await (await host()).check(signal);
    if (done.includes('timestamp')) await writeFile(file(TIMESTAMP_FILE), timestamp);
    if (done.includes('timestamp')) await (await host()).check(signal);
    if (done.includes('root')) await writeFile(file(metadataFile('root', 2)), root);
    if (done.includes('a key')) await rename(path('online', 'next', 'policy.key'), path('online', 'policy.key'));
    for (const name of ['cache', 'fresh']) await (await host(name)).check(signal);
    const again = await reopen();
    assert.equal(again.state.root.signed.version, 2, last);
    await again.setFleetPolicy((it) => it);
    for (const name of ['cache', 'fresh', 'newest']) {
      const client = await host(name);
      await client.check(signal);
      assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 2);
    }
    const now = await loadOnlineKeys(keyDirectory);
    assert.ok(
      ROLES.every((role) => now[role].id !== old[role].id),
      last,
    );
    assert.deepEqual((await readdir(keyDirectory)).sort(), [
      'policy.key',
      'root.json',
      'snapshot.key',
      'timestamp.key',
    ]);
    assert.equal((await readSigned(file(TIMESTAMP_FILE))).signatures.length, 1, 'the old key signs no more');
  }
});

test('drops keys of a rotation that was not completed at the next start', async (t) => {
  const { repository, reopen, signed, keyDirectory } = await setUp(t);
  const online = await repository.prepareKeys(['timestamp']);
  const request = await signed({ fresh: { online } });
  assert.ok((await readdir(keyDirectory)).includes('next'));
  const again = await reopen();
  assert.ok(!(await readdir(keyDirectory)).includes('next'));
  await assert.rejects(again.acceptRotation(request), withCode('key-wrong'));
});

test('ignores a foreign first root in the server’s folder', async (t) => {
  const { created, reopen } = await setUp(t);
  const thief = await makeWorld(t);
  await writeFile(created.root, await readFile(thief.created.root));
  const again = await reopen();
  assert.equal(await again.refreshOnline(), false);
  // All of the thief's files: nothing is signed upon them.
  await rm(created.repository, { recursive: true });
  await cp(thief.created.repository, created.repository, { recursive: true });
  await assert.rejects(reopen(), withCode('repository-damaged'));
  await assert.rejects(again.refreshOnline(), withCode('repository-damaged'));
});

test('finishes a rotation that a full disk stopped with the next change', async (t) => {
  const { repository, host, keyDirectory } = await begun(t);
  await repository.setFleetPolicy((it) => ({ ...it, checkIntervalSeconds: 77 }));
  const client = await host();
  await client.check(signal);
  assert.equal((await client.fleetPolicy(signal))?.checkIntervalSeconds, 77);
  assert.equal(repository.state.root.signed.version, 2);
  assert.ok(!(await readdir(keyDirectory)).includes('next'));
});
