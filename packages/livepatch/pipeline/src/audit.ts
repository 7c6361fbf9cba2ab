import { readFile } from 'node:fs/promises';
import { type AuditResult, audit, FixedWorlds, World } from '@kmend/audit';
import { errorCode } from '@kmend/base';
import { type FixStore, findTree } from '@kmend/builder';
import type { Livepatch } from '@kmend/protocol';
import { readArtifact } from '@kmend/trust';
import type { Workshop } from './workshop.ts';

export interface AuditedLivepatch {
  readonly manifest: Livepatch;
  readonly result: AuditResult;
}

/** Audits a livepatch that was built before, in `directory`, with what this machine has of its sources. */
export async function auditLivepatch(workshop: Workshop, directory: string): Promise<AuditedLivepatch> {
  const { cache, kernels, images, fixes } = workshop;
  const { livepatch: manifest, module: file } = await readArtifact(directory);
  const module = await readFile(file.path);
  const kernel = await kernels.open(manifest.kernel.buildId);
  const tree = await findTree(cache, kernel);
  const source = { patches: await patchesOf(manifest, fixes), tree: tree?.source };
  const fixed = await new FixedWorlds(images).of(manifest);
  return { manifest, result: await audit(await World.open(kernel), { module, manifest, source, fixed }) };
}

/** The patches of its fixes, if all of them are here as they were when it was built. */
async function patchesOf({ inputs }: Livepatch, fixes: FixStore): Promise<string[]> {
  const patches: string[] = [];
  for (const [id, sha256] of Object.entries({ ...inputs.on, ...inputs.fixes })) {
    try {
      const fix = await fixes.open(id);
      if (fix.sha256 !== sha256) return [];
      patches.push(fix.patch);
    } catch (error) {
      if (errorCode(error) !== 'fix-unknown') throw error;
      return [];
    }
  }
  return patches;
}
