export {
  type DemoFix,
  FIXES,
  FROM,
  importFixes,
  KERNEL,
  MORE,
  SHARED_FIXED,
  SHARED_FLAWS,
  SUITE,
  TO,
  TRIXIE,
  TRIXIE_FIXES,
  type UpdateRange,
} from './fixes.ts';
export { IMAGE, MOUNT_IMAGE, OTHER_MACHINE, UNMOUNT_IMAGE } from './image.ts';
export { LATE_NETWORK } from './late-network.ts';
export { openLab, openWorkshop } from './open-lab.ts';
export { KMEND, type KmendResult, Operator, type ServerProcess } from './operator.ts';
export { cutAt, uncut } from './packaged-hosts/cut.ts';
export { APT, fixesIn, HOST_PACKAGES, PackagedHost } from './packaged-hosts/packaged-host.ts';
export { ORIGIN, Publisher } from './packaged-hosts/publisher.ts';
export { AGAIN, META, NOTE, packageOf, SERIES, Setting } from './packaged-hosts/setting.ts';
export { patchIn, patchOf } from './patch.ts';
export { AGENT_HOST, agentInstalled, PatchedHost } from './patched-host.ts';
export { BOOT_MARK, ENDING_UNIT, endIn, endingUnit } from './rescue.ts';
export { subjectOf } from './subject.ts';
export { preparedTree, trixieTree } from './tree.ts';
export { unload } from './unload.ts';
