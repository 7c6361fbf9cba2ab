import { dirname } from 'node:path/posix';
import type { Clock } from '@kmend/base';
import type { KernelPolicy, LivepatchTarget, PublishRequest } from '@kmend/protocol';
import {
  BuildId,
  KernelTerms,
  kernelPattern,
  kernelRole,
  LivepatchTarget as LivepatchTargetSchema,
  manifestPath,
  modulePath,
  proofPath,
} from '@kmend/protocol';
import { Metadata, MetadataKind, TargetFile, Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import type { SigningKey } from '../keys/key.ts';
import { expiry, SPEC_VERSION } from '../metadata/signing.ts';
import type { LocalFile } from './artifact.ts';

/** The field of a kernel's signed role with its `KernelTerms`. */
const TERMS = 'kmend';

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

/**
 * What the release key says of a kernel beside its livepatches. Throws `repository-garbage` where it is in no form
 * that this version knows.
 */
export function signedTerms(role: Metadata<Targets> | undefined): KernelTerms {
  const parsed = KernelTerms.safeParse(role?.signed.unrecognizedFields[TERMS] ?? {});
  if (parsed.success) return parsed.data;
  throw new TrustError(
    'repository-garbage',
    'a kernel’s floor is signed but not in the form this version of kmend knows',
    {
      cause: parsed.error,
      hint: 'upgrade kmend',
    },
  );
}

/** The highest serial that a kernel's role gave away, whether it still signs that livepatch or not. */
export function lastSerial(role: Metadata<Targets> | undefined, buildId: string): number {
  return Math.max(signedTerms(role).lastSerial ?? 0, ...signedLivepatches(role, buildId).keys());
}

export function nextSerial(role: Metadata<Targets> | undefined, buildId: string): number {
  return lastSerial(role, buildId) + 1;
}

/** A kernel role as it is but for what is said, one version up and unsigned. */
export function againKernel(
  before: Metadata<Targets>,
  buildId: string,
  change: { readonly floor?: number | null; readonly drop?: ReadonlySet<number> },
  clock: Clock,
): Metadata<Targets> {
  const { drop = new Set<number>() } = change;
  const prefixes = [...drop].map((serial) => dirname(modulePath(buildId, serial)));
  const kept = Object.entries(before.signed.targets).filter(([path]) => !prefixes.includes(dirname(path)));
  const known = signedTerms(before);
  const floor = change.floor === undefined ? known.floor : (change.floor ?? undefined);
  const terms: Record<string, number> = {
    ...(floor === undefined || drop.has(floor) ? {} : { floor }),
    ...(known.lastSerial === undefined && drop.size === 0 ? {} : { lastSerial: lastSerial(before, buildId) }),
  };
  const { [TERMS]: _, ...fields } = before.signed.unrecognizedFields;
  return new Metadata(
    new Targets({
      version: before.signed.version + 1,
      specVersion: SPEC_VERSION,
      expires: expiry('kernel', clock),
      targets: Object.fromEntries(kept),
      unrecognizedFields: { ...fields, ...(Object.keys(terms).length === 0 ? {} : { [TERMS]: terms }) },
    }),
  );
}

export interface AddedLivepatch {
  readonly buildId: string;
  readonly description: LivepatchTarget;
  readonly module: LocalFile;
  readonly manifest: LocalFile;
  readonly proof: LocalFile | undefined;
}

/** A kernel role with one livepatch more, unsigned yet. */
export function withLivepatch(
  before: Metadata<Targets> | undefined,
  { buildId, description, module, manifest, proof }: AddedLivepatch,
  clock: Clock,
): Metadata<Targets> {
  const role = new Targets({
    version: (before?.signed.version ?? 0) + 1,
    specVersion: SPEC_VERSION,
    expires: expiry('kernel', clock),
    targets: { ...before?.signed.targets },
    unrecognizedFields: { ...before?.signed.unrecognizedFields },
  });
  const { reason, ...said } = description;
  role.addTarget(
    new TargetFile({
      path: modulePath(buildId, description.serial),
      length: module.size,
      hashes: { sha256: module.sha256 },
      unrecognizedFields: { custom: { ...said, ...(reason === undefined ? {} : { reason }) } },
    }),
  );
  const plain = [
    [manifestPath(buildId, description.serial), manifest],
    [proofPath(buildId, description.serial), proof],
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
  { buildId, channel, serial }: Pick<PublishRequest, 'buildId' | 'channel' | 'serial'>,
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
