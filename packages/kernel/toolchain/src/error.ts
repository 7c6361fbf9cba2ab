import { KmendError } from '@kmend/base';

export type ToolchainErrorCode = 'sandbox-unavailable' | 'compiler-unavailable' | 'root-failed' | 'root-missing';

/** A tool was not started: nothing would confine it, or there is no system that has it. */
export class ToolchainError extends KmendError<ToolchainErrorCode> {}
