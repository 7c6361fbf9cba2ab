import assert from 'node:assert/strict';
import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { kernelRole, modulePath, type PublishRequest } from '@kmend/protocol';
import { Metadata, MetadataKind } from '@tufjs/models';
import { generateKey } from '../keys/key.ts';
import { loadReleaseKey } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { BUILD_ID, makeWorld, OTHER_BUILD_ID, shiftedClock, type World, writeArtifact } from '../testing/world.ts';
import { createRepository } from './create.ts';
import { openRepository } from './repository.ts';
import { signPublication } from './sign.ts';

const DAY = 86_400_000;

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

async function signed(world: World, n: number, buildId = BUILD_ID) {
  const kernel = { buildId, release: '6.1.0-47-amd64', version: '6.1.170-3', arch: 'x86_64' } as const;
  const livepatch = await writeArtifact(world.path(`artifact-${n}`), n, { kernel });
  const { repository, releaseKey, clock } = world;
  const publication = await signPublication({
    state: repository.state,
    releaseKey,
    livepatch,
    channel: 'stable',
    clock,
  });
  const files = new Map(publication.files.map((file) => [file.sha256, file.path]));
  return { request: publication.request, upload: (hash: string) => files.get(hash) ?? '/nonexistent' };
}

/** Everything a client could see. */
async function visible(world: World): Promise<string> {
  return readFile(join(world.created.repository, 'metadata', 'timestamp.json'), 'utf8');
}

interface TargetsJson {
  readonly targets: Record<string, unknown>;
  readonly delegations: { readonly roles: object[] };
}

/** A change of one role in a request, signed again. */
function resigned(request: PublishRequest, role: string, world: World, change: (signed: TargetsJson) => void) {
  const json = JSON.parse(request.metadata[role] ?? '');
  change(json.signed);
  const text = signedText(Metadata.fromJSON(MetadataKind.Targets, json), world.releaseKey);
  return { ...request, metadata: { ...request.metadata, [role]: text } };
}

test('names the place of each new key, and protects the keys', async (t) => {
  const world = await makeWorld(t);
  const offline = world.created.keys.filter((key) => key.kind === 'offline').map((key) => key.path);
  assert.deepEqual(offline, [world.path('offline', 'root.key'), world.path('offline', 'release.key')]);
  assert.equal(world.created.keys.length, 5);
  for (const { path } of world.created.keys) assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(world.path('offline'))).mode & 0o777, 0o700);
  const served = await readdir(world.created.repository, { recursive: true });
  assert.ok(!served.some((name) => name.endsWith('.key')));
});

test('never overwrites keys or a repository', async (t) => {
  const world = await makeWorld(t);
  const again = (more: object) =>
    createRepository({
      offlineKeys: world.path('offline'),
      onlineKeys: world.path('online'),
      repository: world.path('repository'),
      clock: systemClock,
      ...more,
    });
  await assert.rejects(again({}), withCode('repository-exists'));
  await assert.rejects(again({ repository: world.path('second') }), withCode('keys-exist'));
  await assert.rejects(
    again({ repository: world.path('second'), offlineKeys: world.path('other') }),
    withCode('keys-exist'),
  );
  await assert.rejects(stat(world.path('second')));
  await assert.rejects(stat(world.path('other')));
});

test('leaves no keys behind after a creation that fails', async (t) => {
  const world = await makeWorld(t);
  await writeFile(world.path('blocked'), 'a file where the repository should go');
  const options = {
    offlineKeys: world.path('new', 'offline'),
    onlineKeys: world.path('new', 'online'),
    repository: world.path('blocked'),
    clock: systemClock,
  };
  await assert.rejects(createRepository(options));
  assert.deepEqual(await readdir(options.offlineKeys), []);
  await createRepository({ ...options, repository: world.path('new', 'repository') });
});

test('refuses keys that are missing, damaged, readable by others, or of another repository', async (t) => {
  const world = await makeWorld(t);
  await assert.rejects(loadReleaseKey(world.path('nowhere')), withCode('keys-missing'));
  const path = world.path('offline', 'release.key');
  await chmod(path, 0o644);
  await assert.rejects(loadReleaseKey(world.path('offline')), withCode('key-damaged'));
  await writeFile(path, (await readFile(path, 'utf8')).replace('MC4C', 'MC4D'));
  await chmod(path, 0o600);
  await assert.rejects(loadReleaseKey(world.path('offline')), withCode('key-damaged'));
  const stranger = await makeWorld(t);
  const keyDirectory = world.path('strange');
  await cp(stranger.path('online'), keyDirectory, { recursive: true });
  await copyFile(world.path('online', 'root.json'), world.path('strange', 'root.json'));
  await assert.rejects(
    openRepository({ repository: world.created.repository, keyDirectory, clock: systemClock }),
    withCode('key-wrong'),
  );
  await assert.rejects(
    openRepository({ ...world.created, keyDirectory: stranger.path('online'), clock: systemClock }),
    withCode('repository-damaged'),
  );
  const livepatch = await writeArtifact(world.path('a'), 1);
  await assert.rejects(
    signPublication({
      state: world.repository.state,
      releaseKey: stranger.releaseKey,
      livepatch,
      channel: 'stable',
      clock: systemClock,
    }),
    withCode('key-wrong'),
  );
});

test('counts serials up for each kernel, keeps earlier ones, and settles the channel', async (t) => {
  const world = await makeWorld(t);
  const { repository } = world;
  for (const n of [1, 2]) {
    const { request, upload } = await signed(world, n);
    assert.equal(request.serial, n);
    assert.equal('targets' in request.metadata, n === 1, 'targets change only for a new kernel');
    await repository.acceptPublication(request, upload);
  }
  const other = await signed(world, 3, OTHER_BUILD_ID);
  assert.equal(other.request.serial, 1);
  await repository.acceptPublication(other.request, other.upload);
  assert.equal((await repository.kernelPolicy(BUILD_ID))?.channels.stable?.settled, 2);
  assert.equal((await repository.manifest(BUILD_ID, 1))?.id, (await repository.manifest(BUILD_ID, 1))?.id);
  assert.ok((await repository.state.role(kernelRole(BUILD_ID)))?.signed.targets[modulePath(BUILD_ID, 1)]);
  const reopened = await openRepository({
    repository: world.created.repository,
    keyDirectory: world.path('online'),
    clock: systemClock,
  });
  assert.equal(reopened.state.timestamp.signed.version, 4);
});

test('does not publish the same livepatch twice', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  await assert.rejects(signed(world, 1), withCode('publication-duplicate'));
});

test('does not sign a livepatch that is refused, unreviewed, damaged or unreadable', async (t) => {
  const world = await makeWorld(t);
  const { repository, releaseKey, clock } = world;
  const sign = (livepatch: string) =>
    signPublication({ state: repository.state, releaseKey, livepatch, channel: 'stable', clock });
  const make = (name: string, more: Parameters<typeof writeArtifact>[2]) => writeArtifact(world.path(name), 1, more);
  await assert.rejects(sign(await make('refused', { verdict: 'refused' })), withCode('livepatch-not-publishable'));
  await assert.rejects(sign(await make('review', { verdict: 'needs-review' })), withCode('livepatch-not-publishable'));
  await sign(await make('reviewed', { verdict: 'needs-review', reviewAccepted: true }));
  const damaged = await make('damaged', {});
  await writeFile(join(damaged, 'livepatch.ko'), 'other');
  await assert.rejects(sign(damaged), withCode('livepatch-mismatch'));
  await rm(join(damaged, 'livepatch.ko'));
  await assert.rejects(sign(damaged), withCode('livepatch-unreadable'));
  await writeFile(join(damaged, 'livepatch.json'), '{}');
  await assert.rejects(sign(damaged), withCode('livepatch-unreadable'));
  await assert.rejects(sign(world.path('nothing')), withCode('livepatch-unreadable'));
});

test('changes nothing for a publication that is unsigned, stale, dropping, stuffed or incomplete', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  const before = await visible(world);
  const { request, upload } = await signed(world, 2);
  const name = kernelRole(BUILD_ID);
  const refuse = async (changed: PublishRequest, code: string, from = upload) => {
    await assert.rejects(world.repository.acceptPublication(changed, from), withCode(code), code);
    assert.equal(await visible(world), before, code);
  };
  const stranger = { ...world, releaseKey: generateKey('release').key };
  await refuse(
    resigned(request, name, stranger, () => undefined),
    'publication-unsigned',
  );
  await refuse(
    resigned(request, name, world, (role) => Object.assign(role, { version: 3 })),
    'publication-outdated',
  );
  await refuse({ ...request, serial: 3 }, 'publication-outdated');
  await refuse(
    resigned(request, name, world, (role) => delete role.targets[modulePath(BUILD_ID, 1)]),
    'publication-removes',
  );
  await refuse(
    resigned(request, name, world, (role) => {
      role.targets['kernels/x'] = role.targets[modulePath(BUILD_ID, 1)];
    }),
    'publication-invalid',
  );
  await refuse(
    resigned(request, name, world, (role) => Object.assign(role, { expires: '2020-01-01T00:00:00Z' })),
    'publication-invalid',
  );
  await refuse({ ...request, metadata: { ...request.metadata, root: '{}' } }, 'publication-invalid');
  await refuse({ ...request, metadata: { [name]: 'garbage' } }, 'publication-invalid');
  await refuse({ ...request, metadata: {} }, 'publication-invalid');
  await refuse({ ...request, targets: {} }, 'publication-mismatch');
  await refuse(request, 'publication-mismatch', () => '/nonexistent');
  await refuse(request, 'publication-mismatch', () => world.path('artifact-1', 'livepatch.ko'));
  await world.repository.acceptPublication(request, upload);
  await assert.rejects(world.repository.acceptPublication(request, upload), withCode('publication-outdated'));
});

test('lets new targets metadata add this kernel’s delegation and nothing else', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  const { request, upload } = await signed(world, 2, OTHER_BUILD_ID);
  const tries: [string, (signed: TargetsJson) => void][] = [
    ['publication-removes', (role) => role.delegations.roles.shift()],
    ['publication-invalid', (role) => Object.assign(role.delegations.roles[0] ?? {}, { paths: ['*', 'kernels/*'] })],
    ['publication-invalid', (role) => Object.assign(role.delegations.roles[2] ?? {}, { paths: ['policy/*'] })],
    ['publication-invalid', (role) => Object.assign(role, { targets: { x: { length: 1, hashes: {} } } })],
  ];
  for (const [code, change] of tries) {
    const changed = resigned(request, 'targets', world, change);
    await assert.rejects(world.repository.acceptPublication(changed, upload), withCode(code));
  }
  const missing = {
    ...request,
    metadata: { [kernelRole(OTHER_BUILD_ID)]: request.metadata[kernelRole(OTHER_BUILD_ID)] ?? '' },
  };
  await assert.rejects(world.repository.acceptPublication(missing, upload), withCode('publication-invalid'));
  await world.repository.acceptPublication(request, upload);
});

test('keeps the old state in force after a publication that fails half-way, and can repeat it', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  const before = await visible(world);
  const { request, upload } = await signed(world, 2);
  // A directory stands where the new snapshot must go: everything before it has been written by then.
  const obstacle = join(world.created.repository, 'metadata', '3.snapshot.json');
  await mkdir(obstacle);
  await assert.rejects(world.repository.acceptPublication(request, upload));
  assert.equal(await visible(world), before);
  assert.equal((await world.repository.kernelPolicy(BUILD_ID))?.channels.stable?.settled, 1);
  await rm(obstacle, { recursive: true });
  await world.repository.acceptPublication(request, upload);
  assert.equal((await world.repository.kernelPolicy(BUILD_ID))?.channels.stable?.settled, 2);
});

test('makes changes that are requested at once one after the other', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  const set = (seconds: number) =>
    world.repository.setFleetPolicy((before) => ({ ...before, checkIntervalSeconds: seconds }));
  const versions = await Promise.all([set(60), set(61), set(62)]);
  assert.deepEqual(
    versions.map((version) => version.timestamp),
    [3, 4, 5],
  );
  assert.equal((await world.repository.fleetPolicy()).checkIntervalSeconds, 62);
});

test('accepts a policy only with published serials and within its limits', async (t) => {
  const world = await makeWorld(t);
  await world.publish(1);
  const { repository } = world;
  await assert.rejects(
    repository.setKernelPolicy(OTHER_BUILD_ID, (policy) => policy),
    withCode('policy-invalid'),
  );
  await assert.rejects(
    repository.setKernelPolicy(BUILD_ID, (policy) => ({ ...policy, withdrawn: [{ serial: 2, reason: 'x' }] })),
    withCode('policy-invalid'),
  );
  await assert.rejects(
    repository.setFleetPolicy((policy) => ({ ...policy, checkIntervalSeconds: 1 })),
    withCode('policy-invalid'),
  );
  await repository.setKernelPolicy(BUILD_ID, (policy) => ({
    ...policy,
    channels: { ...policy.channels, early: { settled: 1, rollout: null } },
  }));
  assert.deepEqual(Object.keys((await repository.kernelPolicy(BUILD_ID))?.channels ?? {}).sort(), ['early', 'stable']);
});

test('signs online roles again at half of their life, and not before', async (t) => {
  const world = await makeWorld(t);
  const keyDirectory = world.path('online');
  const at = (offset: number) =>
    openRepository({ repository: world.created.repository, keyDirectory, clock: shiftedClock(offset) });
  assert.equal(await (await at(0.4 * DAY)).refreshOnline(), false);
  const half = await at(0.6 * DAY);
  assert.equal(await half.refreshOnline(), true);
  assert.deepEqual([half.state.timestamp.signed.version, half.state.snapshot.signed.version], [2, 1]);
  assert.equal(await half.refreshOnline(), false);
  const later = await at(4 * DAY);
  assert.equal(await later.refreshOnline(), true);
  assert.equal(later.state.snapshot.signed.version, 2);
  const ages = await later.ages();
  assert.ok(ages.every((age) => age.expires.getTime() > Date.now() + 4 * DAY));
});

test('re-signs at once what a wrong clock signed for too long', async (t) => {
  const world = await makeWorld(t, shiftedClock(400 * DAY));
  const keyDirectory = world.path('online');
  const repository = await openRepository({ repository: world.created.repository, keyDirectory, clock: systemClock });
  const overlong = async () => (await repository.ages()).filter((age) => age.overlong).map(({ role }) => role);
  assert.deepEqual(await overlong(), ['root', 'timestamp', 'snapshot', 'targets', 'policy']);
  assert.equal(await repository.refreshOnline(), true);
  assert.deepEqual(await overlong(), ['root', 'targets'], 'what only the operator can sign');
  assert.equal(await repository.refreshOnline(), false);
});

test('reports a damaged and a missing repository', async (t) => {
  const world = await makeWorld(t);
  const keyDirectory = world.path('online');
  const open = (repository: string) => openRepository({ repository, keyDirectory, clock: systemClock });
  await assert.rejects(open(world.path('nothing')), withCode('repository-missing'));
  const path = join(world.created.repository, 'metadata', '1.snapshot.json');
  await writeFile(path, `${await readFile(path, 'utf8')} `);
  await assert.rejects(open(world.created.repository), withCode('repository-damaged'));
  await rm(path);
  await assert.rejects(open(world.created.repository), withCode('repository-damaged'));
});
