import type { Livepatch } from '@kmend/protocol';
import { BUILD_ID, exampleManifest, exampleModule, writeBuild } from '@kmend/trust/testing';

export { BUILD_ID };

/** What a build makes, as far as publishing looks at it; `n` makes each another. */
export function exampleLivepatch(n: number): { readonly manifest: Livepatch; readonly module: Buffer } {
  const { module } = exampleModule(`livepatch ${n}`);
  const fixes: Livepatch['fixes'] = [{ id: `CVE-2026-${n}`, title: 'a fix', severity: 'high', hardware: false }];
  return { manifest: exampleManifest(n, module, { fixes }), module };
}

/** Writes it as `kmend build --out` does. Returns the module. */
export async function writeLivepatch(directory: string, n: number): Promise<Buffer> {
  const { manifest, module } = exampleLivepatch(n);
  await writeBuild(directory, manifest, module);
  return module;
}
