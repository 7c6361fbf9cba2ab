import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KmendError } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { Livepatch } from '@kmend/protocol';
import { makeFix } from './fix/store.ts';
import { assertEffectiveVersion, type ManifestParts, makeManifest } from './manifest.ts';

const patch = '--- a/net/f.c\n+++ b/net/f.c\n@@ -1 +1 @@\n-int f;\n+int g;\n';
const hash = sha256('x');
const parts: ManifestParts = {
  id: '0123456789ab',
  kernel: {
    buildId: 'ab'.repeat(20),
    release: '6.1.0-47-amd64',
    version: '6.1.170-3',
    arch: 'x86_64',
    compiler: { text: 'gcc-12 (Debian 12.2.0-14) 12.2.0', command: 'gcc-12' },
  },
  fixes: [
    makeFix({ id: 'f', title: 'a fix', severity: 'low', hardware: false }, { kind: 'patch', file: 'f.patch' }, patch),
  ],
  kind: 'cumulative',
  effectiveVersion: undefined,
  reasons: [],
  acceptReview: false,
  units: [],
  leftOut: [],
  inputs: { fixes: { f: hash }, config: hash, moduleSymvers: hash, vmlinux: hash, source: hash },
};

test('puts a stated effective version into the manifest, and changes nothing else', () => {
  const plain = makeManifest(parts);
  assert.equal('effectiveVersion' in plain, false);
  const stated = makeManifest({ ...parts, effectiveVersion: '6.1.176-1' });
  assert.deepEqual(stated, { ...plain, effectiveVersion: '6.1.176-1' });
  assert.deepEqual(Livepatch.parse(JSON.parse(JSON.stringify(stated))), stated);
});

test('accepts a package version as effective version, whatever the distribution adds to it', () => {
  for (const good of ['6.1.176-1', '6.12.57+deb13', '6.1.176-1~bpo11+1', '1:5.10.0-1', '7'])
    assert.doesNotThrow(() => assertEffectiveVersion(good), good);
  assert.doesNotThrow(() => assertEffectiveVersion(undefined));
  for (const bad of ['', 'linux-6.1.176', '6.1.176 1', '6.1.176-1\n', '6.1.\u0007', `6${'.1'.repeat(40)}`]) {
    assert.throws(
      () => assertEffectiveVersion(bad),
      (error) => error instanceof KmendError && error.code === 'version-malformed' && error.hint !== undefined,
      JSON.stringify(bad),
    );
  }
});
