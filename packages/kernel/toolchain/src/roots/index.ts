export { BuildRoots, type KnownRoot, rootOfDigest } from './build-roots.ts';
export { type DebianCompiler, debianCompiler, rootName, type WantedRoot } from './wanted.ts';
