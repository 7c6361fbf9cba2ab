import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import type { Livepatch } from '@kmend/protocol';
import { exampleModule } from '@kmend/trust/testing';

export const BUILD_ID = 'ab'.repeat(20);

/** What a build makes, as far as publishing looks at it; `n` makes each another. */
export function exampleLivepatch(n: number): { readonly manifest: Livepatch; readonly module: Buffer } {
  const { module, identity } = exampleModule(`livepatch ${n}`);
  const { id } = identity;
  const manifest: Livepatch = {
    schema: 'kmend.livepatch/1',
    id,
    module: `kmend_${id}`,
    kind: 'cumulative',
    kernel: { buildId: BUILD_ID, release: '6.1.0-47-amd64', version: '6.1.170-3', arch: 'x86_64' },
    fixes: [{ id: `CVE-2026-${n}`, title: 'a fix', severity: 'high', hardware: false }],
    verdict: 'patchable',
    reasons: [],
    reviewAccepted: false,
    objects: [{ name: 'vmlinux', functions: [{ name: 'f', sympos: 0, source: 'net/f.c' }] }],
    byteProof: { compared: 1, equal: 1, different: [] },
    file: { name: 'livepatch.ko', sha256: sha256(module), size: module.length },
    inputs: { fixes: {}, config: sha256(''), moduleSymvers: sha256(''), vmlinux: sha256(''), source: sha256('') },
    compiler: 'gcc',
    builder: { name: 'kmend', version: '0.1.0' },
  };
  return { manifest, module };
}

/** Writes it as `kmend build --out` does. Returns the module. */
export async function writeLivepatch(directory: string, n: number): Promise<Buffer> {
  const { manifest, module } = exampleLivepatch(n);
  await mkdir(directory);
  await writeFile(join(directory, 'livepatch.ko'), module);
  await writeFile(join(directory, 'livepatch.json'), JSON.stringify(manifest));
  return module;
}
