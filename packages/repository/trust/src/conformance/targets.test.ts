import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeRunner } from './testing/runner.ts';
import { newSigner } from './testing/signer.ts';
import { inDays, type Simulator } from './testing/simulator.ts';

// The conformance suite's test_file_download.py, test_updater_delegation_graphs.py, test_delegated_expiration.py and
// test_quoting_issues.py.

const ALL = ['targets', 'snapshot', 'timestamp'];

test('downloads targets once, wherever they lie, and again when they change', async (t) => {
  for (const consistent of [true, false]) {
    const client = await makeRunner(t);
    const { repository } = client;
    repository.root.consistent_snapshot = consistent;
    repository.addArtifact('targets', 'target_file.txt', 'first');
    repository.addArtifact('targets', 'path/to/a/target_file.txt', 'second');
    repository.addArtifact('targets', 'with space & ünïcode.txt', 'third', 'sha512');
    repository.publish('root', ...ALL);
    assert.equal(await client.init(repository.signed.get('root')?.at(-1)), 0);
    assert.equal(await client.refresh(), 0);
    assert.deepEqual(await client.downloaded(), []);
    for (const path of repository.artifacts.keys()) {
      assert.equal(await client.download(path), 0, path);
      assert.equal(await client.download(path), 0, path);
    }
    assert.deepEqual(await client.downloaded(), ['first', 'second', 'third']);
    assert.deepEqual(
      repository.targetRequests,
      [...repository.artifacts.keys()],
      'what is there is not asked for again',
    );
    for (let n = 0; n < 3; n++) {
      repository.addArtifact('targets', 'target_file.txt', `first, changed ${n}`);
      repository.publish(...ALL);
      assert.equal(await client.download('target_file.txt'), 0);
      assert.deepEqual(await client.downloaded(), [`first, changed ${n}`, 'second', 'third']);
    }
  }
});

test('downloads several targets in their order in one run of the workflow, up to the first that fails', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  for (const name of ['b', 'a', 'c', 'd']) repository.addArtifact('targets', name, `target ${name}`);
  repository.publish(...ALL);
  assert.equal(await client.init(), 0);
  repository.metadataRequests.length = 0;
  assert.equal(await client.downloadAll(['b', 'a', 'c']), 0);
  assert.deepEqual(repository.targetRequests, ['b', 'a', 'c']);
  assert.equal(repository.metadataRequests.filter((name) => name.includes('timestamp')).length, 1);
  assert.deepEqual(await client.downloaded(), ['target a', 'target b', 'target c']);
  assert.equal(await client.downloadAll(['a', 'missing', 'd']), 1);
  assert.deepEqual(await client.downloaded(), ['target a', 'target b', 'target c']);
});

test('never stores a substituted target', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  repository.addArtifact('targets', 'one', 'target one');
  repository.addArtifact('targets', 'two', 'target two');
  repository.publish(...ALL);
  assert.equal(await client.init(), 0);
  assert.equal(await client.download('one'), 0);
  for (const path of ['one', 'two']) repository.artifacts.set(path, Buffer.from('malicious!'));
  await client.download('one');
  assert.deepEqual(await client.downloaded(), ['target one']);
  assert.equal(await client.download('two'), 1);
  repository.artifacts.set('two', Buffer.from('malicious data, and longer than what was signed'));
  assert.equal(await client.download('two'), 1);
  assert.deepEqual(await client.downloaded(), ['target one']);
});

type Edge = readonly [from: string, to: string, paths?: string[], terminating?: boolean];

function delegateAll(repository: Simulator, edges: readonly Edge[]): void {
  for (const [from, to, paths, terminating] of edges) repository.delegate(from, to, paths, terminating);
  repository.publish(...repository.delegated.keys(), ...ALL);
}

test('searches delegations in order, depth first', async (t) => {
  const graphs: Readonly<Record<string, { readonly edges: readonly Edge[]; readonly visited: readonly string[] }>> = {
    one: { edges: [['targets', 'A']], visited: ['A'] },
    'side by side': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
      ],
      visited: ['A', 'B'],
    },
    'two levels': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['A', 'D'],
      ],
      visited: ['A', 'C', 'D', 'B'],
    },
    'three levels': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['C', 'D'],
      ],
      visited: ['A', 'C', 'D', 'B'],
    },
    'a terminating delegation ends the search after its descendants': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', ['*'], true],
        ['A', 'E'],
        ['C', 'D'],
      ],
      visited: ['A', 'C', 'D'],
    },
    'paths that do not match are passed over': {
      edges: [
        ['targets', 'A', ['*.py']],
        ['targets', 'B'],
        ['A', 'C'],
      ],
      visited: ['B'],
    },
    'a circle': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['C', 'D'],
        ['D', 'B'],
      ],
      visited: ['A', 'B', 'C', 'D'],
    },
    'two ways to one role': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C'],
      ],
      visited: ['A', 'C', 'B'],
    },
    'two ways, one of them for other paths': {
      edges: [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C', ['*.py']],
      ],
      visited: ['A', 'B', 'C'],
    },
  };
  for (const [name, { edges, visited }] of Object.entries(graphs)) {
    const client = await makeRunner(t);
    delegateAll(client.repository, edges);
    assert.equal(await client.init(), 0);
    assert.equal(await client.download('missingpath'), 1);
    const asked = client.repository.metadataRequests.slice(4);
    assert.deepEqual(
      asked,
      visited.map((role) => `${role} 1`),
      name,
    );
  }
});

test('accepts a target only along delegations that all match it', async (t) => {
  const edges: readonly Edge[] = [
    ['targets', 'A', ['*.doc', '*.md']],
    ['targets', 'B', ['releases/*/*']],
    ['B', 'C', ['releases/x/*']],
    ['B', 'D', ['releases/y/*.zip']],
  ];
  const cases = {
    targetfile: { role: 'targets', visited: [], found: true },
    'README.md': { role: 'A', visited: ['A'], found: true },
    'releases/x/x_v1': { role: 'C', visited: ['B', 'C'], found: true },
    'releases/y/y_v1.zip': { role: 'D', visited: ['B', 'D'], found: true },
    'releases/z/z_v1.zip': { role: 'D', visited: ['B'], found: false },
  };
  for (const [path, { visited, found }] of Object.entries(cases)) {
    const client = await makeRunner(t);
    const { repository } = client;
    for (const [from, to, paths] of edges) repository.delegate(from, to, paths);
    for (const [other, { role }] of Object.entries(cases)) repository.addArtifact(role, other, `${other} by ${role}`);
    repository.publish(...repository.delegated.keys(), ...ALL);
    assert.equal(await client.init(), 0);
    assert.equal(await client.download(path), found ? 0 : 1, path);
    assert.deepEqual(await client.downloaded(), found ? [String(repository.artifacts.get(path))] : []);
    assert.deepEqual(
      repository.metadataRequests.slice(4),
      visited.map((role) => `${role} 1`),
      path,
    );
  }
});

test('requests one bin of hashed bins (succinct roles)', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  const signer = newSigner();
  repository.targets.delegations = {
    keys: { [signer.keyid]: signer.json },
    succinct_roles: { keyids: [signer.keyid], threshold: 1, bit_length: 8, name_prefix: 'bin' },
  };
  for (let n = 0; n < 256; n++) {
    const name = `bin-${n.toString(16).padStart(2, '0')}`;
    repository.delegated.set(name, { ...structuredClone(repository.targets), version: 1, targets: {} });
    delete repository.delegated.get(name)?.delegations;
    repository.addSigner(name, signer);
  }
  // The SHA-256 of "bar" begins with fc.
  repository.addArtifact('bin-fc', 'bar', 'content of bar');
  repository.publish(...repository.delegated.keys(), ...ALL);
  assert.equal(await client.init(), 0);
  assert.equal(await client.download('bar'), 0);
  assert.deepEqual(repository.metadataRequests.slice(4), ['bin-fc 1']);
  assert.deepEqual(await client.trusted(), ['bin-fc 1', 'root 1', 'snapshot 2', 'targets 2', 'timestamp 2']);
});

test('refuses expired delegated roles', async (t) => {
  const client = await makeRunner(t);
  const { repository } = client;
  const role = repository.delegate('targets', 'delegated', ['delegatedpath/*']);
  repository.addArtifact('delegated', 'delegatedpath/first', 'first');
  repository.addArtifact('delegated', 'delegatedpath/second', 'second');
  role.expires = inDays(-1);
  repository.publish('delegated', ...ALL);
  assert.equal(await client.init(), 0);
  assert.equal(await client.refresh(), 0);
  assert.equal(await client.download('delegatedpath/first'), 1);
  assert.deepEqual(await client.downloaded(), []);
  assert.deepEqual(await client.trusted(), ['root 1', 'snapshot 2', 'targets 2', 'timestamp 2']);
  role.expires = inDays(7);
  repository.publish('delegated', 'snapshot', 'timestamp');
  assert.equal(await client.download('delegatedpath/first'), 0);
  assert.equal(await client.download('delegatedpath/second', 18), 1, 'expired since');
  assert.deepEqual(await client.downloaded(), ['first']);
  role.expires = inDays(21);
  repository.publish('delegated', 'snapshot', 'timestamp');
  assert.equal(await client.download('delegatedpath/second', 18), 0);
  assert.deepEqual(await client.downloaded(), ['first', 'second']);
});

test('quotes unusual role names in addresses and in file names', async (t) => {
  for (const name of ['?', '#', '/delegatedrole', '../delegatedrole']) {
    const client = await makeRunner(t);
    const { repository } = client;
    repository.delegate('targets', name);
    repository.publish(name, ...ALL);
    assert.equal(await client.init(), 0);
    assert.equal(await client.download('nonexistent target'), 1);
    assert.equal(repository.metadataRequests.at(-1), `${encodeURIComponent(name)} 1`);
    assert.equal((await client.trusted()).length, 5, name);
  }
});
