/** How guest code runs: by the processor itself, or translated by QEMU (about ten times slower, needs nothing). */
export type Accelerator = 'kvm' | 'tcg';

/** The configuration of QEMU for one start of a host. Paths are absolute; memory in MiB. */
export interface MachineSpec {
  readonly name: string;
  readonly uuid: string;
  readonly accelerator: Accelerator;
  readonly memoryMb: number;
  readonly cpus: number;
  readonly vmlinuz: string;
  readonly initramfs: string;
  readonly disk: string;
  readonly modulesImage: string;
  readonly kernelArguments: readonly string[];
  readonly forwards: readonly PortForward[];
  /** The guest reaches this machine's loopback, and what this machine reaches. */
  readonly reachesOperator: boolean;
  /** What the clock says at power on; absent: the time of day. */
  readonly clock?: Date | undefined;
  /** Stand still until told to continue. */
  readonly paused?: boolean;
}

/** A TCP port of the guest, reachable on the operator's loopback; `hostPort` 0 lets the operating system choose. */
export interface PortForward {
  readonly guestPort: number;
  readonly hostPort: number;
}

/** The block devices' serial numbers, by which the initramfs distinguishes them. */
export const ROOT_SERIAL = 'kmend-root';
export const MODULES_SERIAL = 'kmend-modules';
/** The virtio-serial port qemu-guest-agent listens on by default, and its id in QEMU's events. */
const AGENT_PORT = 'org.qemu.guest_agent.0';
export const AGENT_DEVICE = 'agent';
/** Open sockets that QEMU inherits. */
export const AGENT_FD = 3;
export const QMP_FD = 4;
export const DATA_FD = 5;
export const CHANNELS = 3;
/** The second virtio-serial port, for bulk data: `/dev/virtio-ports/<this>` in the guest. */
export const DATA_PORT = 'org.kmend.data';

/** The arguments all machines share: nothing by default, no window, no network boot. */
const BARE = ['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-serial', 'stdio'];

export function acceleratorArguments(accelerator: Accelerator): string[] {
  // Five-level page tables only make every emulated page walk longer; a guest in the guest is not for the lab. With
  // ERMS the kernel copies and clears by `rep movsb`, which is emulated byte by byte.
  if (accelerator === 'tcg') return ['-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off,svm=off,erms=off'];
  return ['-accel', 'kvm', '-cpu', 'host'];
}

/** Boots a bare kernel to its panic for want of a root, and ends. */
export function probeArguments(accelerator: Accelerator, vmlinuz: string): string[] {
  const append = 'console=ttyS0 panic=-1';
  return [
    ...BARE,
    ...acceleratorArguments(accelerator),
    '-m',
    '256',
    '-no-reboot',
    '-kernel',
    vmlinuz,
    '-append',
    append,
  ];
}

export function machineArguments(spec: MachineSpec): string[] {
  const forwards = spec.forwards.map((forward) => `,hostfwd=tcp:127.0.0.1:${forward.hostPort}-:${forward.guestPort}`);
  return [
    ...BARE,
    ...acceleratorArguments(spec.accelerator),
    '-name',
    `guest=${escapeComma(spec.name)}`,
    '-uuid',
    spec.uuid,
    '-m',
    String(spec.memoryMb),
    '-smp',
    String(spec.cpus),
    ...(spec.paused === true ? ['-S'] : []),
    // Without fractions of a second or a zone: that is how QEMU wants it (-rtc base=).
    ...(spec.clock === undefined ? [] : ['-rtc', `base=${spec.clock.toISOString().slice(0, 19)}`]),
    // Each boot is a new QEMU: after a reset in the same one, emulation runs at half the speed.
    '-no-reboot',
    // QEMU gives up what a guest that broke out of it would want.
    '-sandbox',
    'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    '-kernel',
    spec.vmlinuz,
    '-initrd',
    spec.initramfs,
    '-append',
    kernelCommandLine(spec).join(' '),
    ...blockDevice('root', `file=${escapeComma(spec.disk)},format=qcow2,discard=unmap`, ROOT_SERIAL),
    ...blockDevice('modules', `file=${escapeComma(spec.modulesImage)},format=raw,readonly=on`, MODULES_SERIAL),
    '-netdev',
    `user,id=network,ipv6=off${spec.reachesOperator ? '' : ',restrict=on'}${forwards.join('')}`,
    '-device',
    'virtio-net-pci,netdev=network,romfile=',
    '-device',
    'virtio-rng-pci',
    '-device',
    'virtio-serial-pci',
    '-chardev',
    `socket,id=agent-channel,fd=${AGENT_FD}`,
    '-device',
    `virtserialport,chardev=agent-channel,name=${AGENT_PORT},id=${AGENT_DEVICE}`,
    '-chardev',
    `socket,id=data-channel,fd=${DATA_FD}`,
    '-device',
    `virtserialport,chardev=data-channel,name=${DATA_PORT}`,
    '-chardev',
    `socket,id=qmp-channel,fd=${QMP_FD}`,
    '-mon',
    'chardev=qmp-channel,mode=control',
  ];
}

/** Kernel parameters of an emulated guest. */
const EMULATED = [
  // An emulated processor shared with other work stalls for seconds without any fault of the kernel's, also while the
  // kernel looks whether its timer ticks: it would panic.
  'rcupdate.rcu_cpu_stall_timeout=180',
  'watchdog_thresh=60',
  'no_timer_check',
  // QEMU keeps what it translated by the address it ran at: where each process has other addresses, all is translated
  // for each process again, and starting one takes five times as long.
  'norandmaps',
];

function kernelCommandLine(spec: MachineSpec): string[] {
  return [
    'console=ttyS0',
    'net.ifnames=0',
    'loglevel=5',
    'systemd.show_status=error',
    ...(spec.accelerator === 'tcg' ? EMULATED : []),
    ...spec.kernelArguments,
  ];
}

function blockDevice(id: string, drive: string, serial: string): string[] {
  return ['-drive', `if=none,id=${id},${drive}`, '-device', `virtio-blk-pci,drive=${id},serial=${serial}`];
}

/** In QEMU's option lists a comma is doubled. */
function escapeComma(value: string): string {
  return value.replaceAll(',', ',,');
}
