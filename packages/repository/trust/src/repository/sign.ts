import type { Clock } from '@kmend/base';
import {
  type Channel,
  kernelRole,
  type LivepatchTarget,
  manifestPath,
  modulePath,
  type PublishRequest,
  proofPath,
} from '@kmend/protocol';
import type { Metadata, Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import type { SigningKey } from '../keys/key.ts';
import { signedText } from '../metadata/signing.ts';
import { requireOwn } from '../operator/operator.ts';
import { type Confirm, planOf } from '../operator/plan.ts';
import { type LivepatchArtifact, type LocalFile, readArtifact } from './artifact.ts';
import { nextSerial, signedLivepatches, withKernel, withLivepatch } from './kernel-role.ts';
import { type ProofDemand, readProof } from './proof.ts';
import type { RepositoryState } from './state.ts';

export interface SignOptions extends ProofDemand {
  /** What the repository says now, verified (`openOperator`). */
  readonly state: RepositoryState;
  readonly releaseKey: SigningKey;
  /** What `kmend build --out` wrote. */
  readonly livepatch: string;
  readonly channel: Channel;
  readonly clock: Clock;
  /** Asked before anything is signed. */
  readonly confirm?: Confirm;
}

export interface SignedPublication {
  readonly request: PublishRequest;
  /** To be uploaded before the request is sent. */
  readonly files: readonly LocalFile[];
  readonly artifact: LivepatchArtifact;
  readonly proven: boolean;
}

/**
 * The operator's half of publishing: signs a livepatch for its kernel with the release key, as the next serial. Nothing
 * is sent here. Throws the codes of `readArtifact` and `readProof`, `key-wrong`, `publication-duplicate`.
 */
export async function signPublication(options: SignOptions): Promise<SignedPublication> {
  const { state, releaseKey, clock, channel } = options;
  checkReleaseKey(state, releaseKey);
  const artifact = await readArtifact(options.livepatch);
  const proof = await readProof(options.livepatch, artifact, options);
  const { livepatch, module, manifest } = artifact;
  const { buildId } = livepatch.kernel;
  const name = kernelRole(buildId);
  const before = await state.role(name);
  if (before !== undefined) requireOwn(releaseKey, name, before);
  assertNew(before, artifact, proof !== undefined);
  const serial = nextSerial(before, buildId);
  const description: LivepatchTarget = {
    serial,
    id: livepatch.id,
    module: livepatch.module,
    kind: livepatch.kind,
    fixes: livepatch.fixes.map((fix) => fix.id),
    proven: proof !== undefined,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
  };
  const role = withLivepatch(before, { buildId, description, module, manifest, proof }, clock);
  const isNew = state.targets.signed.delegations?.roles?.[name] === undefined;
  const targets = isNew ? withKernel(state.targets, buildId, releaseKey, clock) : undefined;
  const proposed = { kernels: new Map([[name, role]]), ...(targets === undefined ? {} : { targets }) };
  await options.confirm?.(await planOf(state, proposed));
  const metadata = {
    [name]: signedText(role, releaseKey),
    ...(targets === undefined ? {} : { targets: signedText(targets, releaseKey) }),
  };
  return {
    artifact,
    proven: proof !== undefined,
    files: [manifest, module, ...(proof === undefined ? [] : [proof])],
    request: {
      metadata,
      targets: {
        [modulePath(buildId, serial)]: module.sha256,
        [manifestPath(buildId, serial)]: manifest.sha256,
        ...(proof === undefined ? {} : { [proofPath(buildId, serial)]: proof.sha256 }),
      },
      buildId,
      serial,
      channel,
    },
  };
}

/**
 * Throws `publication-duplicate` where these very files are published already. The same content with another signature,
 * manifest or its first proof is a publication of its own: hosts that run that content take the new serial over without
 * a load.
 */
function assertNew(
  before: Metadata<Targets> | undefined,
  { livepatch, module, manifest }: LivepatchArtifact,
  proven: boolean,
): void {
  const { buildId } = livepatch.kernel;
  const hashAt = (path: string): string | undefined => before?.signed.targets[path]?.hashes['sha256'];
  for (const [serial, published] of signedLivepatches(before, buildId)) {
    const same =
      hashAt(modulePath(buildId, serial)) === module.sha256 &&
      hashAt(manifestPath(buildId, serial)) === manifest.sha256;
    if (!same || (proven && !published.proven)) continue;
    throw new TrustError(
      'publication-duplicate',
      `livepatch ${livepatch.id} is published already, with these very files, as serial ${serial}`,
      {
        hint: `to give it to another channel, change the kernel’s policy: kmend policy kernel ${buildId} --channel <name> --settle ${serial}`,
        details: { serial, buildId },
      },
    );
  }
}

function checkReleaseKey(state: RepositoryState, key: SigningKey): void {
  const expected = state.root.signed.roles['targets']?.keyIDs;
  if (expected?.includes(key.id) !== true) {
    throw new TrustError('key-wrong', 'the release key at hand is not the one this repository’s root names', {
      hint: 'use the key that was made with this repository ("kmend repo init" said where it lies)',
      details: { actual: key.id, expected },
    });
  }
  requireOwn(key, 'targets', state.targets);
}
