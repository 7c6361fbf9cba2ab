export { ToolchainError, type ToolchainErrorCode } from './error.ts';
export { type Sandbox, sandboxArguments, sandboxed } from './sandbox.ts';
