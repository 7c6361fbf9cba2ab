import { sha256 } from '@kmend/base/node';
import type { Kernel } from '@kmend/kernel';
import { EffectiveVersion, type Livepatch, type PatchedObject, type VerdictReason } from '@kmend/protocol';
import type { UnitOutcome } from './assemble/outcome.ts';
import { BuilderError } from './error.ts';
import type { Fix } from './fix/model.ts';

/** Which builder it was. No part of the id: that is of what was built. */
const BUILDER_VERSION = '0.1.0';

export interface ManifestParts {
  /** Of the module; without one, the id is that of what the manifest says. */
  readonly id?: string;
  readonly kernel: Pick<Kernel, 'buildId' | 'release' | 'version' | 'arch' | 'compiler' | 'local' | 'indexExpired'>;
  readonly fixes: readonly Fix[];
  readonly kind: Livepatch['kind'];
  readonly effectiveVersion: string | undefined;
  readonly reasons: readonly VerdictReason[];
  readonly acceptReview: boolean;
  readonly units: readonly UnitOutcome[];
  readonly fixedKernel?: Livepatch['fixedKernel'] | undefined;
  readonly inputs: Livepatch['inputs'];
  /** Absent for this machine's system. */
  readonly buildRoot?: Livepatch['buildRoot'] | undefined;
  /** C files of the fixes that the kernel is not built from. */
  readonly leftOut: readonly string[];
}

/**
 * What the maker of a livepatch says it brings a kernel up to. Nothing here can check it: which fixes a version has is
 * known to the distribution, not to a build. Throws `version-malformed`.
 */
export function assertEffectiveVersion(version: string | undefined): void {
  if (version === undefined || EffectiveVersion.safeParse(version).success) return;
  throw new BuilderError('version-malformed', `${JSON.stringify(version)} is not a version of a Debian package`, {
    hint: 'name the linux package whose security fixes are all in it, as its changelog does: 6.1.176-1',
  });
}

/** `livepatch.json` without the module's hash. */
export function makeManifest(parts: ManifestParts): Livepatch {
  const { kernel, fixes, kind, effectiveVersion, reasons, acceptReview, units, fixedKernel, inputs, leftOut } = parts;
  const { buildRoot } = parts;
  const verdict = reasons.some((reason) => reason.verdict === 'refused')
    ? 'refused'
    : reasons.length > 0
      ? 'needs-review'
      : 'patchable';
  const objects = new Map<string, PatchedObject>();
  for (const { source, object: name, functions, callbacks } of units) {
    if (functions.length + callbacks.length === 0) continue;
    const object = objects.get(name) ?? { name, functions: [] };
    object.functions.push(...functions);
    if (callbacks.length > 0) {
      const named = callbacks.map((entry) => ({ name: entry.name, phases: entry.phases, source }));
      object.callbacks = [...(object.callbacks ?? []), ...named];
    }
    objects.set(name, object);
  }
  const equal = units.reduce((sum, { proof }) => sum + proof.equal, 0);
  const different = units.flatMap(({ proof }) => proof.different);
  const dependsOn = [...new Set(units.flatMap((unit) => unit.dependsOn))].sort();
  const said: Omit<Livepatch, 'schema' | 'id' | 'module'> = {
    kind,
    ...(kind === 'stacked' ? { dependsOn } : {}),
    kernel: {
      buildId: kernel.buildId,
      release: kernel.release,
      version: kernel.version,
      arch: kernel.arch,
      ...(kernel.local === undefined ? {} : { local: true }),
      ...(kernel.indexExpired === undefined ? {} : { indexExpired: kernel.indexExpired }),
    },
    fixes: fixes.map(({ id: fix, title, severity, hardware }) => ({ id: fix, title, severity, hardware })),
    ...(effectiveVersion === undefined ? {} : { effectiveVersion }),
    verdict,
    reasons: [...reasons],
    reviewAccepted: verdict === 'needs-review' && acceptReview,
    objects: [...objects.values()],
    ...(leftOut.length === 0 ? {} : { leftOut: [...leftOut] }),
    units: units.map(({ source, object }) => ({ source, object })),
    byteProof: { compared: equal + different.length, equal, different },
    ...(fixedKernel === undefined ? {} : { fixedKernel }),
    inputs,
    compiler: kernel.compiler.text,
    ...(buildRoot === undefined ? {} : { buildRoot }),
    builder: { name: 'kmend', version: BUILDER_VERSION },
  };
  const { id = sha256(JSON.stringify(said)).slice(0, 12) } = parts;
  return { schema: 'kmend.livepatch/1', id, module: `kmend_${id}`, ...said };
}
