export { Builder, type BuildRequest, type BuildResult } from './assemble/builder.ts';

export type { LeftAlone, LeftAloneSample } from './assemble/left-alone.ts';
export type { Companions } from './assemble/search-companions.ts';
export { codeDigest } from './assemble/version.ts';

export {
  type ChangedItem,
  type Changes,
  type CompareRequest,
  compareObjects,
  type Difference,
  type Item,
  type ObjectComparison,
} from './compare-objects/index.ts';

export { BuilderError, type BuilderErrorCode } from './error.ts';
export type { DeltaTexts } from './fix/companions.ts';
export { deltaTexts, type ImportWords, importFromDebian, importFromGit, importFromPatch } from './fix/import.ts';
export type { Fix, FixOrigin } from './fix/model.ts';
export type { HeaderParts } from './fix/part.ts';
export { FixStore, type FixWords, makeFix } from './fix/store.ts';
export type { FixedKernels } from './fixed/choice.ts';
export type { FixedRequest } from './fixed/compare.ts';
export { assertEffectiveVersion } from './manifest.ts';
export { MANIFEST, prepareOutput, writeLivepatch } from './output.ts';
export { BUILD_TYPE, PROVENANCE, Provenance } from './provenance.ts';
export { openSigningKey, type SigningKey, type SigningKeyFiles } from './sign/key.ts';
export { type ModuleSignature, signModule, signResult } from './sign/sign.ts';
export {
  type Diagnosis,
  diagnose,
  type KernelState,
  type RootState,
  type Workplace,
  workplaceOf,
} from './tree/diagnose.ts';
export { findTree, removeTree } from './tree/prepare.ts';
export { assertCompiler } from './tree/root.ts';
export type { PreparedTree } from './tree/tree.ts';
