export { Depot, type Taken, type TakeOptions } from './depot/depot.ts';
export type { DepotKernel, Entry, State } from './depot/schema.ts';
export { measure, type Stack, type StackMeasure, stackOf } from './depot/stack.ts';
export { DistroError, type DistroErrorCode } from './error.ts';
export { type Follower, followersOf } from './follower.ts';
export { LOADER_FOLDER, loaderPackages, type PackageFormat } from './loader-package.ts';
export { manifestText } from './manifest.ts';
export { cumulativeName, flavourOf, followerName, LOADER_PACKAGE, metapackageName, stackedName } from './names.ts';
export { createKey, type KeyFiles, type NewKey, type Signer, withSigner } from './openpgp.ts';
export {
  type PublishedRepository,
  type PublishOptions,
  publishApt,
  publishDnf,
  RepositorySettings,
} from './repository.ts';
export { aptSetup, dnfSetup, type Setup, type SetupOptions } from './setup.ts';
export { SUITES, type Suite } from './suites.ts';
