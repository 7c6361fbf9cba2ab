export { bundleFetch } from './bundle/bundle-fetch.ts';
export { type Bundle, type BundleOptions, createBundle } from './bundle/create.ts';
export { cacheFetch } from './client/cache-fetch.ts';
export { openRepositoryClient, type RepositoryClientOptions } from './client/client.ts';
export type { Fetch, TransferLimits } from './client/transfer.ts';
export type { CheckOutcome, MirrorFailure, RepositoryClient, VerifiedLivepatch } from './client/types.ts';
export { failureKind, TrustError, type TrustErrorCode } from './error.ts';
export { generateKey, type SigningKey } from './keys/key.ts';
export { findNamedKey, loadNextKey, prepareNextKey, promoteNextKey } from './keys/next.ts';
export { loadOnlineKeys, loadReleaseKey, loadRootKey, type OfflineRole, type OnlineKeys } from './keys/store.ts';
export { lifetimes } from './metadata/signing.ts';
export { type PublishedKernel, publishedKernels } from './operator/kernels.ts';
export { type Operator, type OperatorOptions, openOperator } from './operator/operator.ts';
export { type Confirm, type KeyChange, keysByRole, type RoleChange, type SigningPlan } from './operator/plan.ts';
export {
  type LivepatchName,
  prepareFloor,
  prepareRotation,
  type RotatedRole,
  type Rotation,
  type RotationOptions,
} from './operator/rotate.ts';
export { type LivepatchArtifact, type LocalFile, readArtifact } from './repository/artifact.ts';
export { type CreatedRepository, type CreateOptions, createRepository } from './repository/create.ts';
export { missingFiles } from './repository/missing.ts';
export { MIN_RAN_PERCENT, type ProofDemand, readProof } from './repository/proof.ts';
export { openRepository, type Published, type Repository, type RoleAge } from './repository/repository.ts';
export { type SignedPublication, type SignOptions, signPublication } from './repository/sign.ts';
export type { RepositoryState } from './repository/state.ts';
