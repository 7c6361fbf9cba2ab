export { openRepositoryClient, type RepositoryClientOptions } from './client/client.ts';
export type { Fetch, TransferLimits } from './client/transfer.ts';
export type { CheckOutcome, RepositoryClient, VerifiedLivepatch } from './client/types.ts';
export { failureKind, TrustError, type TrustErrorCode } from './error.ts';
export { type CreatedRepository, type CreateOptions, createRepository } from './repository/create.ts';
