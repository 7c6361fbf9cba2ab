export type { AcceleratorChoice } from './accelerator.ts';
export type { LabKernel } from './boot-files.ts';
export type { LabEdges } from './edges.ts';
export { LabError, type LabErrorCode } from './error.ts';
export type { GuestResult, GuestRunOptions } from './guest.ts';
export type { Host } from './host.ts';
export { type BootOptions, Lab } from './lab.ts';
export type { Accelerator } from './qemu.ts';
export type { Root } from './root.ts';
