import type { MachineSpec } from '../qemu.ts';

/** A machine of which no file is there: for what is made of its description alone. */
export const someMachine: MachineSpec = {
  name: 'web-1',
  uuid: '00000000-0000-4000-8000-000000000000',
  accelerator: 'tcg',
  memoryMb: 1024,
  cpus: 2,
  vmlinuz: '/store/vmlinuz',
  initramfs: '/cache/initramfs.gz',
  disk: '/runs/web-1.qcow2',
  modulesImage: '/cache/modules.ext4',
  kernelArguments: [],
  forwards: [],
  reachesOperator: false,
};
