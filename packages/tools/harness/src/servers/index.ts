/**
 * Real patch servers in this process, and hosts that talk to them. Apart from the rest: reading the server's code takes
 * time.
 */
export { type FollowingHost, followingHost } from './following-host.ts';
export { factsOf, reportOf } from './host.ts';
export { BUILD_ID, exampleLivepatch, writeLivepatch } from './livepatch.ts';
export { type Cleanup, type PatchServer, patchServer, type RunKmend } from './patch-server.ts';
