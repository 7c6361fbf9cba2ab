export { ToolchainError, type ToolchainErrorCode } from './error.ts';
export { type BuildRoot, MACHINE, type RootContents } from './roots/build-root.ts';
export { BuildRoots, type KnownRoot, rootOfDigest } from './roots/build-roots.ts';
export { type DebianCompiler, debianCompiler, rootName, type WantedRoot } from './roots/wanted.ts';
export { type Sandbox, sandboxArguments, sandboxed } from './sandbox.ts';
