export { type AgentPackage, buildAgentPackage, type PackageOptions, UNITS } from './build.ts';
export { PackageError, type PackageErrorCode } from './error.ts';
