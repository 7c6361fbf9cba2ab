export { type AuditedLivepatch, auditLivepatch } from './audit.ts';
export { type BuildOrder, buildForKernels, buildLivepatch, type KernelOutcome } from './build.ts';
export { type CheckedFix, type FixSource, type ImportedFix, type ImportRequest, importFix } from './import.ts';
export { addLocalKernel } from './local.ts';
export { type PruneOptions, pruneCache, type Removal } from './prune.ts';
export { type Published, publishLivepatch } from './publish.ts';
export { removeKernel } from './remove-kernel.ts';
export { type PlannedUpdate, planUpdate, UpdateError, type UpdateErrorCode } from './update.ts';
export { Workshop } from './workshop.ts';
