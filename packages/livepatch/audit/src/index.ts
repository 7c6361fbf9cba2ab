export { type AuditRequest, type AuditResult, audit } from './audit.ts';
export { AuditError, type AuditErrorCode } from './error.ts';
export type { Finding, FindingCode } from './finding.ts';
export { FixedWorlds } from './fixed-worlds.ts';
export { audited, type Finished } from './refuse.ts';
export type { AuditedSource } from './source.ts';
export { World } from './world.ts';
