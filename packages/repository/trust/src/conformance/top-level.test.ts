import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeRunner } from './testing/runner.ts';
import { newSigner } from './testing/signer.ts';
import { inDays, type MetaFileJson } from './testing/simulator.ts';

// What the public conformance suite does to a client, and expects of it, for the top-level roles (its test_basic.py,
// test_expiration.py and test_rollback.py), through the same command line.

const ALL = ['targets', 'snapshot', 'timestamp'];
const FIRST = ['root 1', 'snapshot 1', 'targets 1', 'timestamp 1'];

function metaOf(meta: Readonly<Record<string, MetaFileJson>>, name: string): MetaFileJson {
  const found = meta[name];
  assert.ok(found);
  return found;
}

test('requests each top-level role once in a refresh, in order, and keeps them byte for byte', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  // Serialised like no other.
  repository.signed.set('timestamp', [Buffer.concat([repository.signNow('timestamp'), Buffer.from(' \n')])]);
  assert.equal(await client.init(), 0);
  assert.deepEqual(repository.metadataRequests, []);
  assert.equal(await client.refresh(), 0);
  assert.deepEqual(repository.metadataRequests, ['root 2', 'timestamp', 'snapshot 1', 'targets 1']);
  assert.deepEqual(await client.trusted(), FIRST);
  for (const role of ['root', 'timestamp', 'snapshot', 'targets']) {
    assert.deepEqual(await client.trustedBytes(role), repository.signed.get(role)?.at(-1), role);
  }
});

test('refreshes before a download, also if the target does not exist', async (t) => {
  const client = await makeRunner(t);
  assert.equal(await client.init(), 0);
  assert.equal(await client.download('nonexistent artifact'), 1);
  assert.deepEqual(client.repository.metadataRequests, ['root 2', 'timestamp', 'snapshot 1', 'targets 1']);
  assert.deepEqual(await client.trusted(), FIRST);
});

test('sends no request to the repository with an unusable first root', async (t) => {
  const [good] = (await makeRunner(t)).repository.signed.get('root') ?? [];
  const withoutVersion = JSON.parse(String(good));
  delete withoutVersion.signed.version;
  const otherSignature = JSON.parse(String(good));
  otherSignature.signatures[0].sig = newSigner().sign(Buffer.from('something else'));
  for (const root of [withoutVersion, otherSignature]) {
    const client = await makeRunner(t);
    await client.init(Buffer.from(JSON.stringify(root)));
    assert.equal(await client.refresh(), 1);
    assert.deepEqual(client.repository.metadataRequests, []);
  }
});

test('stops the refresh at a role without its signature', async (t) => {
  const expected = {
    root: ['root 1'],
    timestamp: ['root 2'],
    snapshot: ['root 2', 'timestamp 2'],
    targets: ['root 2', 'snapshot 2', 'timestamp 2'],
  };
  for (const [role, trusted] of Object.entries(expected)) {
    const client = await makeRunner(t);
    client.repository.signers.set(role, []);
    client.repository.publish('root', ...ALL);
    assert.equal(await client.init(), 0);
    assert.equal(await client.refresh(), 1, role);
    assert.deepEqual(await client.trusted(), trusted, role);
  }
});

test('stops the refresh at a version that is not the one in the file’s name', async (t) => {
  const expected = {
    root: ['root 1'],
    snapshot: ['root 2', 'timestamp 2'],
    targets: ['root 2', 'snapshot 2', 'timestamp 2'],
  };
  for (const [role, trusted] of Object.entries(expected)) {
    const client = await makeRunner(t);
    const { repository } = client;
    repository.role(role).version++;
    repository.publish('root', ...ALL);
    if (role === 'snapshot') metaOf(repository.timestamp.meta, 'snapshot.json').version = 2;
    if (role === 'targets') metaOf(repository.snapshot.meta, 'targets.json').version = 2;
    for (const again of ['snapshot', 'timestamp'].filter((name) => name !== role)) {
      repository.signed.set(again, [...(repository.signed.get(again)?.slice(0, 1) ?? []), repository.signNow(again)]);
    }
    assert.equal(await client.init(), 0);
    assert.equal(await client.refresh(), 1, role);
    assert.deepEqual(await client.trusted(), trusted, role);
  }
});

test('refuses a timestamp that changes without a new version', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  assert.equal(await client.refresh(), 0);
  const before = await client.trustedBytes('timestamp');
  metaOf(repository.timestamp.meta, 'snapshot.json').version = 100;
  repository.signed.set('timestamp', [repository.signNow('timestamp')]);
  assert.equal(await client.refresh(), 0);
  assert.equal(repository.metadataRequests.at(-1), 'timestamp');
  assert.deepEqual(await client.trustedBytes('timestamp'), before);
});

test('checks the hashes of metadata', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  repository.withHashes = true;
  repository.publish(...ALL);
  assert.equal(await client.init(), 0);
  assert.equal(await client.refresh(), 0);
  repository.publish('targets');
  metaOf(repository.snapshot.meta, 'targets.json').hashes = { sha256: '46'.repeat(32) };
  repository.publish('snapshot', 'timestamp');
  assert.equal(await client.refresh(), 1);
  assert.deepEqual(await client.trusted(), ['root 1', 'snapshot 3', 'targets 2', 'timestamp 3']);
});

test('covers members that the specification does not name by the signatures', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  assert.equal(await client.refresh(), 0);
  repository.root['custom-field'] = 'value';
  repository.root.roles.root['another-field'] = 'value';
  repository.addKey('root', newSigner('ecdsa', { 'extra-field': { a: 1, b: 2 } }));
  repository.root.roles.snapshot.keyids = [];
  repository.signers.set('snapshot', []);
  repository.addKey('snapshot', newSigner('ecdsa', { keyid_hash_algorithms: 'md5' }));
  repository.publish('root', 'snapshot', 'timestamp');
  assert.equal(await client.refresh(), 0);
  assert.deepEqual(await client.trusted(), ['root 2', 'snapshot 2', 'targets 1', 'timestamp 2']);
});

test('reports files that are missing', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  assert.equal(await client.refresh(), 0);
  metaOf(repository.timestamp.meta, 'snapshot.json').version++;
  repository.publish('timestamp');
  assert.equal(await client.refresh(), 1);
  assert.equal(repository.metadataRequests.at(-1), 'snapshot 2');
  assert.deepEqual(await client.trusted(), ['root 1', 'snapshot 1', 'targets 1', 'timestamp 2']);
  metaOf(repository.snapshot.meta, 'targets.json').version++;
  repository.publish('snapshot', 'timestamp');
  assert.equal(await client.refresh(), 1);
  assert.equal(repository.metadataRequests.at(-1), 'targets 2');
  assert.deepEqual(await client.trusted(), ['root 1', 'snapshot 2', 'targets 1', 'timestamp 3']);
  repository.signed.delete('timestamp');
  assert.equal(await client.refresh(), 1);
  assert.equal(repository.metadataRequests.at(-1), 'timestamp');
});

test('refuses a well-signed snapshot in the timestamp’s place by its type', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  const [signer] = repository.signers.get('timestamp') ?? [];
  assert.ok(signer);
  repository.addKey('snapshot', signer);
  repository.snapshot.meta = { 'snapshot.json': { version: 1 } };
  repository.publish('root', 'snapshot');
  const snapshots = repository.signed.get('snapshot') ?? [];
  repository.signed.set('timestamp', [...(repository.signed.get('timestamp') ?? []), ...snapshots.slice(-1)]);
  assert.equal(await client.refresh(), 1);
  assert.deepEqual(await client.trusted(), ['root 2']);
});

test('reads unversioned metadata if the repository has no consistent snapshots', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  repository.root.consistent_snapshot = false;
  repository.publish('root', ...ALL);
  assert.equal(await client.refresh(), 0);
  assert.deepEqual(repository.metadataRequests, ['root 2', 'root 3', 'timestamp', 'snapshot', 'targets']);
  assert.deepEqual(await client.trusted(), ['root 2', 'snapshot 2', 'targets 2', 'timestamp 2']);
});

test('keeps an expired root and nothing after it, and keeps no other expired role', async (t) => {
  const expected = {
    root: ['root 2', 'snapshot 1', 'targets 1', 'timestamp 1'],
    timestamp: ['root 1', 'snapshot 1', 'targets 1', 'timestamp 1'],
    snapshot: ['root 1', 'snapshot 1', 'targets 1', 'timestamp 2'],
    targets: ['root 1', 'snapshot 2', 'targets 1', 'timestamp 2'],
  };
  for (const [role, trusted] of Object.entries(expected)) {
    const client = await makeRunner(t);
    assert.equal(await client.init(), 0);
    assert.equal(await client.refresh(), 0);
    client.repository.role(role).expires = inDays(-5);
    client.repository.publish(...(role === 'root' ? ['root'] : ALL.slice(ALL.indexOf(role))));
    assert.equal(await client.refresh(), 1, role);
    assert.deepEqual(await client.trusted(), trusted, role);
  }
});

test('replaces local metadata that has expired since, by the clock', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  repository.root.expires = inDays(7);
  repository.timestamp.expires = inDays(7);
  repository.publish('root', 'timestamp');
  assert.equal(await client.refresh(), 0);
  assert.equal(await client.refresh(8), 1, 'the root has expired by then');
  repository.root.expires = inDays(21);
  repository.publish('root');
  assert.equal(await client.refresh(18), 1, 'and so has the timestamp');
  repository.timestamp.expires = inDays(21);
  repository.publish(...ALL);
  assert.equal(await client.refresh(18), 0);
  assert.deepEqual(await client.trusted(), ['root 3', 'snapshot 2', 'targets 2', 'timestamp 3']);
});

test('refuses a rollback of the timestamp, of the snapshot and of targets, with hashes and without', async (t) => {
  for (const withHashes of [false, true]) {
    for (const role of ALL) {
      const client = await makeRunner(t);
      const { repository } = client;
      repository.withHashes = withHashes;
      repository.publish(...ALL);
      assert.equal(await client.init(), 0);
      assert.equal(await client.refresh(), 0);
      repository.signed.delete(role);
      repository.role(role).version = 1;
      repository.publish(...ALL.slice(ALL.indexOf(role)));
      assert.equal(await client.refresh(), 1, role);
      const timestamp = role === 'targets' ? 'timestamp 3' : 'timestamp 2';
      assert.deepEqual(await client.trusted(), ['root 1', 'snapshot 2', 'targets 2', timestamp], role);
    }
  }
});

test('does not request a newer snapshot that no timestamp names', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  repository.publish('snapshot');
  metaOf(repository.timestamp.meta, 'snapshot.json').version = 1;
  repository.publish('root', 'timestamp');
  assert.equal(await client.refresh(), 0);
  assert.deepEqual(await client.trusted(), ['root 2', 'snapshot 1', 'targets 1', 'timestamp 2']);
});

test('recovers by new keys from versions that ran ahead', async (t) => {
  const cases = {
    timestamp: ['timestamp'],
    snapshot: ['snapshot', 'timestamp'],
    targets: ['snapshot'],
  } as const;
  for (const [role, keys] of Object.entries(cases)) {
    const client = await makeRunner(t);
    const { repository } = client;
    assert.equal(await client.init(), 0);
    for (let n = 0; n < 99; n++) repository.publish(role);
    repository.publish(...ALL.slice(ALL.indexOf(role) + 1));
    assert.equal(await client.refresh(), 0);
    assert.ok((await client.trusted()).includes(`${role} 100`), role);
    for (const rotated of keys) repository.rotateKeys(rotated);
    repository.signed.delete(role);
    repository.role(role).version = 1;
    repository.publish('root', ...ALL);
    assert.equal(await client.refresh(), 0, role);
    assert.ok((await client.trusted()).includes(`${role} 1`), role);
  }
});
