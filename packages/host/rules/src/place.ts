/** How a process tells that the running kernel is not its system's to patch. */
export const place = {
  /** There in the kernel that only writes a dump (kdump). */
  capture: '/proc/vmcore',
  /** What systemd, Docker and Podman leave in their containers. */
  containerMarks: ['/run/systemd/container', '/.dockerenv', '/run/.containerenv'],
  /** Inodes of the first namespaces: PROC_PID_INIT_INO (include/linux/proc_ns.h). */
  firstPidNamespace: 'pid:[4026531836]',
  /** Every id is itself: the first user namespace (user_namespaces(7)). The kernel pads the fields with spaces. */
  wholeUidMap: '0 0 4294967295',
} as const;

/** Whether `/proc/self/uid_map` is that of the first user namespace; what says nothing is. */
export function isWholeUidMap(text: string): boolean {
  const words = text
    .trim()
    .split(/[ \t]+/)
    .join(' ');
  return words === '' || words === place.wholeUidMap;
}
