import { KmendError } from '@kmend/base';

export type ToolchainErrorCode = 'sandbox-unavailable';

/** A tool was not started, since nothing would confine it. */
export class ToolchainError extends KmendError<ToolchainErrorCode> {}
