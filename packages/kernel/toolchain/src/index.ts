export { toolEnvironment } from './environment.ts';
export { ToolchainError, type ToolchainErrorCode } from './error.ts';
export { type BuildRoot, MACHINE, type RootContents } from './roots/build-root.ts';
export { type Sandbox, sandboxArguments, sandboxed } from './sandbox.ts';
