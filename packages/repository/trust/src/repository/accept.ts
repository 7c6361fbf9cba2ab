import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '@kmend/base';
import {
  kernelRole,
  type Livepatch,
  LivepatchTarget,
  manifestPath,
  modulePath,
  type Proof,
  type PublishRequest,
  proofPath,
} from '@kmend/protocol';
import type { Metadata, TargetFile, Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { isOverlong } from '../metadata/signing.ts';
import { kernelDelegation, nextSerial, signedTerms } from './kernel-role.ts';
import { isOf } from './proof.ts';
import type { RepositoryState } from './state.ts';

/** What a publication adds, once everything about its metadata was verified; the files themselves come next. */
export interface AcceptedMetadata {
  readonly module: TargetFile;
  readonly manifest: TargetFile;
  /** Absent where the livepatch is published unproven. */
  readonly proof: TargetFile | undefined;
  readonly description: LivepatchTarget;
}

/**
 * Verifies a publication's metadata against the repository as it is: every signature, each version one above the last,
 * everything published earlier still there and unchanged, nothing added but one livepatch (and its kernel). The server
 * could not sign such metadata itself; it checks so that it never serves what hosts would turn away.
 */
export async function verifyPublication(
  state: RepositoryState,
  request: PublishRequest,
  clock: Clock,
): Promise<AcceptedMetadata> {
  const { buildId, serial } = request;
  const name = kernelRole(buildId);
  for (const role of Object.keys(request.metadata)) {
    if (role !== name && role !== 'targets') {
      throw new TrustError('publication-invalid', `a publication for ${buildId} may not bring ${role} metadata`);
    }
  }
  const targets = newTargets(state, request, clock);
  const before = await state.role(name);
  const text = request.metadata[name];
  if (text === undefined) throw new TrustError('publication-invalid', `the publication lacks ${name} metadata`);
  const role = parseMetadata('targets', text, name, 'publication-invalid');
  checkSigned(targets, name, role);
  checkFollows(name, before, role, clock);
  if (role.signed.delegations !== undefined) {
    throw new TrustError('publication-invalid', `${name} may not delegate any further`);
  }
  if (!isDeepStrictEqual(signedTerms(role), signedTerms(before))) {
    throw new TrustError('publication-invalid', `${name} may not change its floor by a publication`, {
      hint: 'kmend policy floor does that',
    });
  }
  if (serial !== nextSerial(before, buildId)) {
    throw outdated(`serial ${serial} is not the next one, ${nextSerial(before, buildId)}`);
  }
  const added = checkKept(name, before, role);
  const module = role.signed.targets[modulePath(buildId, serial)];
  const manifest = role.signed.targets[manifestPath(buildId, serial)];
  const proof = role.signed.targets[proofPath(buildId, serial)];
  const files = [module, manifest, proof].filter((target) => target !== undefined);
  if (module === undefined || manifest === undefined || added.length !== files.length) {
    throw new TrustError(
      'publication-invalid',
      `${name} must add module, manifest and proof of serial ${serial}, only`,
      {
        details: { added },
      },
    );
  }
  const description = LivepatchTarget.safeParse(module.custom);
  const described = description.success && description.data.proven === (proof !== undefined);
  if (!described || description.data.serial !== serial) {
    throw new TrustError('publication-invalid', `${module.path} is not described as livepatch ${serial}`);
  }
  for (const target of files) {
    if (request.targets[target.path] !== target.hashes['sha256']) {
      throw new TrustError('publication-mismatch', `${target.path}: uploaded and signed SHA-256 differ`);
    }
  }
  return { module, manifest, proof, description: description.data };
}

/** The uploaded manifest must speak of the signed module, this kernel and the signed description. */
export function checkManifest(buildId: string, livepatch: Livepatch, { module, description }: AcceptedMetadata): void {
  const fits =
    livepatch.kernel.buildId === buildId &&
    livepatch.file?.sha256 === module.hashes['sha256'] &&
    livepatch.id === description.id &&
    livepatch.module === description.module;
  if (fits) return;
  throw new TrustError('publication-mismatch', 'the manifest does not fit the module, the kernel or the description', {
    hint: 'build the livepatch again and publish what the build wrote, unchanged',
  });
}

/** The uploaded proof must speak of the signed module, and well. */
export function checkProof(livepatch: Livepatch, proof: Proof): void {
  if (proof.passed && isOf(proof, livepatch)) return;
  throw new TrustError('publication-mismatch', 'the proof failed, or is of another livepatch', {
    hint: 'prove the livepatch with "kmend prove" and publish what it wrote, unchanged',
  });
}

/** The top-level targets that will be in force: the current ones, or the same plus this kernel's delegation. */
function newTargets(state: RepositoryState, request: PublishRequest, clock: Clock): Metadata<Targets> {
  const name = kernelRole(request.buildId);
  const known = state.targets.signed.delegations?.roles ?? {};
  const text = request.metadata['targets'];
  if (text === undefined) {
    if (known[name] !== undefined) return state.targets;
    throw new TrustError('publication-invalid', `kernel ${request.buildId} is new: the publication must add its role`);
  }
  const targets = parseMetadata('targets', text, 'targets', 'publication-invalid');
  checkSigned(state.root, 'targets', targets);
  checkFollows('targets', state.targets, targets, clock);
  const roles = targets.signed.delegations?.roles ?? {};
  const release = state.root.signed.roles['targets']?.keyIDs ?? [];
  const expected = {
    ...Object.fromEntries(Object.entries(known).map(([role, delegation]) => [role, delegation.toJSON()])),
    [name]: kernelDelegation(request.buildId, roles[name]?.keyIDs ?? []),
  };
  const actual = Object.fromEntries(Object.entries(roles).map(([role, delegation]) => [role, delegation.toJSON()]));
  if (Object.keys(known).some((role) => roles[role] === undefined)) {
    throw new TrustError('publication-removes', 'the new targets metadata drops a role that exists');
  }
  if (!isDeepStrictEqual(actual, expected) || Object.keys(targets.signed.targets).length > 0) {
    throw new TrustError('publication-invalid', `targets metadata may add ${name} and change nothing else`);
  }
  if (roles[name]?.keyIDs.every((id) => release.includes(id)) !== true) {
    throw new TrustError('publication-invalid', `${name} must be signed by the release key`);
  }
  return targets;
}

function checkSigned(
  delegator: RepositoryState['root'] | Metadata<Targets>,
  role: string,
  metadata: Metadata<Targets>,
): void {
  try {
    delegator.verifyDelegate(role, metadata);
  } catch (cause) {
    throw new TrustError('publication-unsigned', `${role} is not signed by the key this repository trusts for it`, {
      cause,
      hint: 'publish with the release key that was made with this repository',
    });
  }
}

function checkFollows(
  role: string,
  before: Metadata<Targets> | undefined,
  after: Metadata<Targets>,
  clock: Clock,
): void {
  const expected = (before?.signed.version ?? 0) + 1;
  if (after.signed.version !== expected) {
    throw outdated(`${role} has version ${after.signed.version}, but ${expected} comes next`);
  }
  if (after.signed.isExpired(clock.now()) || isOverlong('kernel', after.signed.expires, clock)) {
    throw new TrustError('publication-invalid', `${role} is signed to hold until ${after.signed.expires}`, {
      hint: 'check the clock of the machine that signed it, and of the server',
    });
  }
}

/** Nothing published earlier may disappear or change. Gives the paths that are new. */
function checkKept(role: string, before: Metadata<Targets> | undefined, after: Metadata<Targets>): string[] {
  const earlier = before?.signed.targets ?? {};
  for (const [path, target] of Object.entries(earlier)) {
    if (after.signed.targets[path]?.equals(target) !== true) {
      throw new TrustError('publication-removes', `${role} drops or changes ${path}, which is published already`, {
        hint: 'withdraw a bad livepatch by policy instead; its record stays',
      });
    }
  }
  return Object.keys(after.signed.targets).filter((path) => earlier[path] === undefined);
}

function outdated(message: string): TrustError {
  return new TrustError('publication-outdated', message, {
    hint: 'another publication came first, or this one was made from an old state: publish again',
  });
}
