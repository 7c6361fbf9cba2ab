import { KmendError } from '@kmend/base';

export type LabErrorCode =
  | 'lab-no-qemu'
  | 'lab-root-failed'
  | 'lab-kernel-unsuitable'
  | 'lab-qemu-failed'
  | 'lab-boot-timeout'
  | 'lab-guest-gone'
  | 'lab-guest-panic'
  | 'lab-guest-garbage'
  | 'lab-command-timeout'
  | 'lab-command-failed'
  | 'lab-output-too-large'
  | 'lab-copy-failed'
  | 'lab-program-unknown'
  | 'lab-program-failed'
  | 'lab-workload-failed'
  | 'lab-host-state'
  | 'lab-proof-unsuitable'
  | 'lab-emulator-fault'
  | 'lab-closed';

/** What went wrong in the lab; where a guest was running, `details.console` holds the last lines it printed. */
export class LabError extends KmendError<LabErrorCode> {}
