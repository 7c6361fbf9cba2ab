export { type AgentPackage, buildAgentPackage, type PackageOptions } from './build.ts';
export { PackageError, type PackageErrorCode } from './error.ts';
