import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeRunner } from './testing/runner.ts';
import { type KeyType, newSigner, type Signer } from './testing/signer.ts';
import type { Simulator } from './testing/simulator.ts';

// The conformance suite's test_keys.py and test_updater_key_rotations.py.

const ALL = ['targets', 'snapshot', 'timestamp'];

test('accepts Ed25519, ECDSA and RSA-PSS keys, and refuses a wrong signature of each', async (t) => {
  for (const type of ['ed25519', 'ecdsa', 'rsa'] satisfies KeyType[]) {
    const client = await makeRunner(t);
    const { repository } = client;
    assert.equal(await client.init(), 0);
    const signer = repository.addKey('root', newSigner(type));
    repository.root.roles.root.threshold = 2;
    repository.publish('root');
    assert.equal(await client.refresh(), 0, type);
    assert.ok((await client.trusted()).includes('root 2'), type);
    repository.publish('root');
    const roots = repository.signed.get('root') ?? [];
    const bad = JSON.parse(String(roots.pop()));
    for (const signature of bad.signatures) {
      if (signature.keyid === signer.keyid) signature.sig = signer.sign(Buffer.from('another text'));
    }
    roots.push(Buffer.from(JSON.stringify(bad)));
    assert.equal(await client.refresh(), 1, type);
    assert.ok((await client.trusted()).includes('root 2'), type);
  }
});

test('counts thresholds by distinct keys: two of three signatures, more than there are keys, one key many times', async (t) => {
  const two = await makeRunner(t);
  two.repository.addKey('snapshot');
  two.repository.addKey('snapshot');
  two.repository.root.roles.snapshot.threshold = 3;
  two.repository.publish('root', ...ALL);
  assert.equal(await two.init(), 0);
  assert.equal(await two.refresh(), 0);
  two.repository.signers.get('snapshot')?.pop();
  two.repository.publish(...ALL);
  assert.equal(await two.refresh(), 1);
  assert.ok((await two.trusted()).includes('snapshot 2'));

  const few = await makeRunner(t);
  for (let n = 0; n < 4; n++) few.repository.addKey('snapshot');
  few.repository.root.roles.snapshot.threshold = 6;
  few.repository.publish('root', 'snapshot', 'timestamp');
  assert.equal(await few.init(), 0);
  assert.equal(await few.refresh(), 1);
  assert.deepEqual(await few.trusted(), ['root 2', 'timestamp 2']);

  const same = await makeRunner(t);
  const signer = same.repository.addKey('snapshot');
  for (let n = 0; n < 8; n++) same.repository.root.roles.snapshot.keyids.push(signer.keyid);
  same.repository.root.roles.snapshot.threshold = 6;
  same.repository.publish('root', 'snapshot', 'timestamp');
  assert.equal(await same.init(), 0);
  assert.equal(await same.refresh(), 1);
  assert.ok((await same.trusted()).every((role) => !role.startsWith('snapshot')));
});

interface Step {
  readonly keys: readonly number[];
  readonly threshold: number;
  readonly signedBy: readonly number[];
}

const step = (keys: readonly number[], threshold: number, signedBy: readonly number[]): Step => ({
  keys,
  threshold,
  signedBy,
});
const FIVE = [0, 1, 2, 3, 4];
const SWAPPED = [0, 1, 3, 4, 5];

/** Versions of root one after the other; `fails`: the last of them may not be accepted. */
const ROTATIONS: Readonly<Record<string, { readonly steps: readonly Step[]; readonly fails?: true }>> = {
  'one key for another': { steps: [step([1], 1, [1]), step([2], 1, [2, 1]), step([2], 1, [2])] },
  'and foreign signatures': {
    steps: [step([1], 1, [3, 1, 4]), step([2], 1, [3, 2, 1, 4]), step([2], 1, [3, 2, 4])],
  },
  'three of five, in several ways': {
    steps: [step(FIVE, 3, [0, 2, 4]), step(FIVE, 3, [0, 4, 1]), step(FIVE, 3, [0, 1, 3]), step(FIVE, 3, [0, 1, 3])],
  },
  'one of five replaced': { steps: [step(FIVE, 3, [0, 2, 4]), step(SWAPPED, 3, [0, 4, 1])] },
  'one of five replaced, in two steps': {
    steps: [step(FIVE, 3, [0, 2, 4]), step(SWAPPED, 3, [0, 2, 4, 5]), step(SWAPPED, 3, [0, 4, 5])],
  },
  'all five replaced': {
    steps: [
      step(FIVE, 3, [0, 2, 4]),
      step([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
      step([5, 6, 7, 8, 9], 3, [5, 6, 7]),
    ],
  },
  'a higher threshold': { steps: [step([1, 2, 3], 1, [1]), step([1, 2, 3], 2, [1, 2])] },
  'a lower threshold': {
    steps: [step([1, 2, 3], 2, [1, 2]), step([1, 2, 3], 1, [1, 2]), step([1, 2, 3], 1, [1])],
  },
  'more keys and a higher threshold': { steps: [step([1], 1, [1]), step([1, 2], 2, [1, 2])] },
  'not signed by the old key': { steps: [step([1], 1, [1]), step([2], 1, [2, 3, 4])], fails: true },
  'not signed by the new key': { steps: [step([1], 1, [1]), step([2], 1, [1, 3, 4])], fails: true },
  'too few of the new keys': { steps: [step(FIVE, 3, [0, 2, 4]), step(SWAPPED, 3, [0, 2, 4])], fails: true },
  'too few of the old keys': { steps: [step(FIVE, 3, [0, 2, 4]), step(SWAPPED, 3, [0, 4, 5])], fails: true },
  'the new threshold not met': { steps: [step([1, 2, 3], 1, [1]), step([1, 2, 3], 2, [2])], fails: true },
  'the old threshold not met': { steps: [step([1, 2, 3], 2, [1, 2]), step([1, 2, 3], 1, [1])], fails: true },
};

function applyStep(
  repository: Simulator,
  role: 'root' | 'timestamp' | 'snapshot' | 'targets',
  keys: Signer[],
  to: Step,
) {
  repository.root.roles[role].keyids = [];
  repository.root.roles[role].threshold = to.threshold;
  for (const n of to.keys) repository.addKey(role, keys[n]);
  repository.signers.set(
    role,
    to.signedBy.map((n) => keys[n]).filter((key) => key !== undefined),
  );
}

test('follows valid root rotations, and refuses invalid ones', async (t) => {
  const keys = Array.from({ length: 10 }, () => newSigner('ed25519'));
  for (const [name, { steps, fails }] of Object.entries(ROTATIONS)) {
    const client = await makeRunner(t);
    const { repository } = client;
    repository.signed.delete('root');
    for (const next of steps) {
      applyStep(repository, 'root', keys, next);
      repository.publish('root');
    }
    assert.equal(await client.init(), 0, name);
    assert.equal(await client.refresh(), fails === true ? 1 : 0, name);
    const expected = repository.signed.get('root')?.at(fails === true ? -2 : -1);
    assert.deepEqual(await client.trustedBytes('root'), expected, name);
  }
});

test('accepts new keys of the other roles, and refuses signatures below the threshold', async (t) => {
  const keys = Array.from({ length: 10 }, () => newSigner('ed25519'));
  const cases: Readonly<Record<string, { readonly to: Step; readonly fails?: true }>> = {
    'another key': { to: step([2], 1, [2]) },
    'foreign signatures': { to: step([1], 1, [3, 1, 4]) },
    'three of five': { to: step(FIVE, 3, [0, 4, 1]) },
    'not the new key': { to: step([2], 1, [1, 3, 4]), fails: true },
    'one of three is foreign': { to: step(SWAPPED, 3, [0, 2, 4]), fails: true },
    'one of three is missing': { to: step(SWAPPED, 3, [0, 4]), fails: true },
  };
  for (const [name, { to, fails }] of Object.entries(cases)) {
    for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
      const client = await makeRunner(t);
      const { repository } = client;
      assert.equal(await client.init(), 0);
      applyStep(repository, role, keys, to);
      repository.publish('root', ...ALL);
      assert.equal(await client.refresh(), fails === true ? 1 : 0, `${name}, ${role}`);
      if (fails === true) continue;
      assert.deepEqual(await client.trustedBytes(role), repository.signed.get(role)?.at(-1), `${name}, ${role}`);
    }
  }
});

test('stops at the bound of new roots, and the next refresh continues', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  assert.equal(await client.init(), 0);
  for (let n = 0; n < 260; n++) repository.publish('root');
  assert.equal(await client.refresh(), 0);
  assert.ok((await client.trusted()).includes('root 257'), '256 steps from root 1');
  assert.equal(repository.metadataRequests.filter((name) => name.startsWith('root')).length, 256);
  assert.equal(await client.refresh(), 0);
  assert.ok((await client.trusted()).includes('root 261'));
});
