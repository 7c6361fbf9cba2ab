import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256 } from '@kmend/base/node';
import { Livepatch } from '@kmend/protocol';
import { MANIFEST, prepareOutput, writeLivepatch } from './output.ts';
import { PROVENANCE, Provenance, provenanceOf } from './provenance.ts';

const module = Buffer.from('a module');
const hash = (text: string): string => sha256(text);
const manifest = Livepatch.parse({
  schema: 'kmend.livepatch/1',
  id: '0123456789ab',
  module: 'kmend_0123456789ab',
  kind: 'stacked',
  dependsOn: [],
  kernel: { buildId: '12'.repeat(20), release: '6.12.1+deb13-amd64', version: '6.12.1-1', arch: 'x86_64' },
  fixes: [
    { id: 'CVE-2026-2', title: 'second', severity: 'low', hardware: false },
    { id: 'CVE-2026-1', title: 'first', severity: 'low', hardware: false },
  ],
  verdict: 'patchable',
  reasons: [],
  reviewAccepted: false,
  objects: [],
  byteProof: { compared: 1, equal: 1, different: [] },
  file: { name: 'kmend_0123456789ab.ko', sha256: sha256(module), size: module.length },
  inputs: {
    fixes: { 'CVE-2026-2': hash('2'), 'CVE-2026-1': hash('1') },
    on: { 'CVE-2026-0': hash('0') },
    config: hash('config'),
    moduleSymvers: hash('symvers'),
    vmlinux: hash('vmlinux'),
    source: hash('source'),
  },
  compiler: 'gcc-14 (Debian 14.2.0-19) 14.2.0',
  builder: { name: 'kmend', version: '0.1.0' },
});

test('writes a statement as in-toto and SLSA require, and names every input with its hash', () => {
  const statement = provenanceOf(manifest, hash('manifest'));
  assert.ok(statement !== undefined);
  assert.deepEqual(Provenance.parse(JSON.parse(JSON.stringify(statement))), statement);
  assert.deepEqual(
    [statement._type, statement.predicateType],
    ['https://in-toto.io/Statement/v1', 'https://slsa.dev/provenance/v1'],
  );
  assert.deepEqual(statement.subject, [{ name: manifest.file?.name, digest: { sha256: sha256(module) } }]);
  const { buildDefinition, runDetails } = statement.predicate;
  assert.deepEqual(buildDefinition.externalParameters, {
    kernel: manifest.kernel,
    kind: 'stacked',
    fixes: ['CVE-2026-2', 'CVE-2026-1'],
    on: ['CVE-2026-0'],
    acceptReview: false,
  });
  const dependencies = new Map(buildDefinition.resolvedDependencies?.map((it) => [it.name, it]));
  assert.deepEqual(
    [...dependencies].map(([name, { digest }]) => [name, digest?.['sha256']]),
    [
      ['config', hash('config')],
      ['Module.symvers', hash('symvers')],
      ['vmlinux', hash('vmlinux')],
      ['linux-source-6.12.tar.xz', hash('source')],
      ['CVE-2026-0.patch', hash('0')],
      ['CVE-2026-2.patch', hash('2')],
      ['CVE-2026-1.patch', hash('1')],
    ],
  );
  assert.equal(
    dependencies.get('config')?.uri,
    'pkg:deb/debian/linux-headers-6.12.1%2Bdeb13-amd64@6.12.1-1?arch=amd64#usr/src/linux-headers-6.12.1%2Bdeb13-amd64/.config',
  );
  assert.equal(
    dependencies.get('linux-source-6.12.tar.xz')?.uri,
    'pkg:deb/debian/linux-source-6.12@6.12.1-1?arch=all#usr/src/linux-source-6.12.tar.xz',
  );
  assert.deepEqual(runDetails.builder.version, { kmend: '0.1.0' });
  assert.deepEqual(runDetails.byproducts?.[0]?.digest, { sha256: hash('manifest') });
  // Times and run numbers would differ from build to build.
  assert.equal(runDetails.metadata, undefined);
});

test('requires each field that the specifications require', () => {
  const statement = provenanceOf(manifest, hash('manifest'));
  const without = (...path: string[]): unknown => {
    const copy = structuredClone(statement) as unknown as Record<string, unknown>;
    let place = copy;
    for (const step of path.slice(0, -1)) place = place[step] as Record<string, unknown>;
    delete place[path.at(-1) ?? ''];
    return copy;
  };
  for (const path of [
    ['_type'],
    ['subject'],
    ['subject', '0', 'digest'],
    ['predicateType'],
    ['predicate', 'buildDefinition', 'buildType'],
    ['predicate', 'buildDefinition', 'externalParameters'],
    ['predicate', 'runDetails', 'builder', 'id'],
    ['predicate', 'buildDefinition', 'resolvedDependencies', '4', 'digest'],
  ]) {
    assert.equal(Provenance.safeParse(without(...path)).success, false, path.join('.'));
  }
  for (const path of [
    ['predicate', 'buildDefinition', 'internalParameters'],
    ['predicate', 'buildDefinition', 'resolvedDependencies'],
    ['predicate', 'runDetails', 'builder', 'version'],
    ['predicate', 'runDetails', 'byproducts'],
  ]) {
    assert.equal(Provenance.safeParse(without(...path)).success, true, path.join('.'));
  }
  assert.equal(
    Provenance.safeParse({ ...statement, predicateType: 'https://slsa.dev/provenance/v0.2' }).success,
    false,
  );
});

test('records an effective version as a parameter of the build, because livepatch.json depends on it', () => {
  const stated = provenanceOf({ ...manifest, effectiveVersion: '6.12.3-1' }, hash('manifest'));
  assert.equal(stated?.predicate.buildDefinition.externalParameters['effectiveVersion'], '6.12.3-1');
});

test('names the build root, and each package that was installed in it', () => {
  const buildRoot = { suite: 'trixie', digest: hash('root'), packages: { 'gcc-14': '14.2.0-19', 'libstdc++6': '1' } };
  const definition = provenanceOf({ ...manifest, buildRoot }, hash('manifest'))?.predicate.buildDefinition;
  const { suite, digest } = buildRoot;
  assert.deepEqual(definition?.internalParameters?.['buildRoot'], { suite, digest });
  assert.deepEqual(
    definition?.resolvedDependencies?.slice(-2).map(({ uri }) => uri),
    ['pkg:deb/debian/gcc-14@14.2.0-19?arch=amd64', 'pkg:deb/debian/libstdc%2B%2B6@1?arch=amd64'],
  );
});

test('names the parts of a kernel of one’s own by their hashes, and no package', () => {
  const kernel = { ...manifest.kernel, release: '6.12.1-own', version: '6.12.1', local: true as const };
  const statement = provenanceOf({ ...manifest, kernel }, hash('manifest'));
  const parts = statement?.predicate.buildDefinition.resolvedDependencies?.slice(0, 4) ?? [];
  assert.deepEqual(
    parts.map(({ name, uri }) => [name, uri]),
    ['config', 'Module.symvers', 'vmlinux', 'source.tar.zst'].map((name) => [name, undefined]),
  );
  assert.deepEqual(parts[3]?.digest, { sha256: hash('source') });
  assert.doesNotMatch(JSON.stringify(statement), /pkg:deb/);
});

test('names the signed module as the subject, and the module before', () => {
  const signature = { signer: 'me', keyId: '12ab', hash: 'sha256', unsigned: hash('before') } as const;
  const statement = provenanceOf({ ...manifest, signature }, hash('manifest'));
  assert.deepEqual(statement?.predicate.buildDefinition.internalParameters?.['signature'], signature);
  assert.deepEqual(statement?.predicate.runDetails.byproducts?.[1]?.digest, { sha256: hash('before') });
});

test('writes the proof beside the manifest with its hash; the next build removes it', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-output-'));
  t.after(() => rm(directory, { recursive: true }));
  await writeLivepatch(directory, { manifest, module });
  assert.deepEqual((await readdir(directory)).sort(), ['kmend_0123456789ab.ko', MANIFEST, PROVENANCE].sort());
  const statement = Provenance.parse(JSON.parse(await readFile(join(directory, PROVENANCE), 'utf8')));
  const text = await readFile(join(directory, MANIFEST));
  assert.equal(statement.predicate.runDetails.byproducts?.[0]?.digest?.['sha256'], sha256(text));
  await prepareOutput(directory);
  const { file: _, ...refused } = manifest;
  await writeLivepatch(directory, { manifest: { ...refused, verdict: 'refused' } });
  assert.deepEqual(await readdir(directory), [MANIFEST]);
});
