import type { Clock } from '@kmend/base';
import type { KernelPolicy, LivepatchTarget } from '@kmend/protocol';
import {
  BuildId,
  kernelPattern,
  kernelRole,
  LivepatchTarget as LivepatchTargetSchema,
  manifestPath,
  modulePath,
  proofPath,
} from '@kmend/protocol';
import { Metadata, MetadataKind, TargetFile, Targets } from '@tufjs/models';
import type { SigningKey } from '../keys/key.ts';
import { expiry, SPEC_VERSION } from '../metadata/signing.ts';
import type { LocalFile } from './artifact.ts';

/** Build id of the kernel a role speaks for; `undefined` for other roles. */
export function kernelOfRole(role: string): string | undefined {
  const buildId = role.slice(kernelRole('').length);
  return kernelRole(buildId) === role && BuildId.safeParse(buildId).success ? buildId : undefined;
}

/** Livepatches a kernel role signs, by serial. */
export function signedLivepatches(role: Metadata<Targets> | undefined, buildId: string): Map<number, LivepatchTarget> {
  const found = new Map<number, LivepatchTarget>();
  for (const target of Object.values(role?.signed.targets ?? {})) {
    const parsed = LivepatchTargetSchema.safeParse(target.custom);
    if (parsed.success && target.path === modulePath(buildId, parsed.data.serial))
      found.set(parsed.data.serial, parsed.data);
  }
  return found;
}

export function nextSerial(role: Metadata<Targets> | undefined, buildId: string): number {
  return Math.max(0, ...signedLivepatches(role, buildId).keys()) + 1;
}

/** A kernel role with one livepatch more, unsigned yet. */
export function withLivepatch(
  before: Metadata<Targets> | undefined,
  buildId: string,
  description: LivepatchTarget,
  files: { readonly module: LocalFile; readonly manifest: LocalFile; readonly proof: LocalFile | undefined },
  clock: Clock,
): Metadata<Targets> {
  const role = new Targets({
    version: (before?.signed.version ?? 0) + 1,
    specVersion: SPEC_VERSION,
    expires: expiry('kernel', clock),
    targets: { ...before?.signed.targets },
  });
  const { reason, ...said } = description;
  role.addTarget(
    new TargetFile({
      path: modulePath(buildId, description.serial),
      length: files.module.size,
      hashes: { sha256: files.module.sha256 },
      unrecognizedFields: { custom: { ...said, ...(reason === undefined ? {} : { reason }) } },
    }),
  );
  const plain = [
    [manifestPath(buildId, description.serial), files.manifest],
    [proofPath(buildId, description.serial), files.proof],
  ] as const;
  for (const [path, file] of plain) {
    if (file === undefined) continue;
    role.addTarget(new TargetFile({ path, length: file.size, hashes: { sha256: file.sha256 } }));
  }
  return new Metadata(role);
}

/** Top-level targets with one kernel more: only its role may sign below `kernels/<build-id>/`. */
export function withKernel(
  before: Metadata<Targets>,
  buildId: string,
  release: SigningKey,
  clock: Clock,
): Metadata<Targets> {
  const next = Metadata.fromJSON(MetadataKind.Targets, {
    signatures: [],
    signed: {
      ...before.signed.toJSON(),
      version: before.signed.version + 1,
      expires: expiry('targets', clock),
      delegations: {
        ...before.signed.delegations?.toJSON(),
        keys: keysWith(before, release),
        roles: [
          ...Object.values(before.signed.delegations?.roles ?? {}).map((role) => role.toJSON()),
          kernelDelegation(buildId, [release.id]),
        ],
      },
    },
  });
  return next;
}

function keysWith(before: Metadata<Targets>, release: SigningKey) {
  const known = Object.entries(before.signed.delegations?.keys ?? {}).map(([id, key]) => [id, key.toJSON()] as const);
  return Object.fromEntries([...known, [release.id, release.public] as const]);
}

/** The only form a kernel's delegation takes. */
export function kernelDelegation(buildId: string, keyIds: readonly string[]) {
  return {
    name: kernelRole(buildId),
    keyids: [...keyIds],
    threshold: 1,
    paths: [kernelPattern(buildId)],
    terminating: true,
  };
}

/** A kernel's policy after a livepatch went straight to a channel. */
export function settledPolicy(
  before: KernelPolicy | undefined,
  buildId: string,
  channel: keyof KernelPolicy['channels'],
  serial: number,
  clock: Clock,
): KernelPolicy {
  return {
    schema: 'kmend.kernel-policy/1',
    buildId,
    channels: { ...before?.channels, [channel]: { settled: serial, rollout: null } },
    withdrawn: before?.withdrawn ?? [],
    issued: clock.now().toISOString(),
  };
}
