import type { Edges } from '@kmend/base';
import type { SystemSource } from '@kmend/toolchain/roots';

/** What the lab needs from outside. */
export interface LabEdges extends Pick<Edges, 'run' | 'clock' | 'progress' | 'signal'> {
  /** The lab's own directory (absolute): the Debian root, boot files, programs, and scratch space of running hosts. */
  readonly cache: string;
  /** Where Debian systems are installed from; absent: the default of mmdebstrap. */
  readonly systems?: SystemSource;
}
