export { BuildRoots, type KnownRoot, rootOfDigest } from './build-roots.ts';
export { givenRoot } from './given.ts';
export { type DebianSystem, MMDEBSTRAP_HINT, mmdebstrapArguments, type SystemSource } from './mmdebstrap.ts';
export { DPKG_STATUS, extentOf, rootContents } from './record.ts';
export { type DebianCompiler, debianCompiler, rootName, type WantedRoot } from './wanted.ts';
