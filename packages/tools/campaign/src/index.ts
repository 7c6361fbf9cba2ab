export { campaign } from './campaign.ts';
export type { BuiltLivepatch } from './faults/build.ts';
export { HostileMirror, ownerOf } from './faults/mirror.ts';
export { SLEEPER } from './faults/sleeper.ts';
export { groups, SHORT_ROUNDS } from './groups.ts';
export { Rig } from './rig.ts';
export { remarks, table } from './table.ts';
