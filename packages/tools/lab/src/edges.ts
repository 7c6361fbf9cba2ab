import type { Edges } from '@kmend/base';

/** What the lab needs from outside. */
export interface LabEdges extends Pick<Edges, 'run' | 'clock' | 'progress' | 'signal'> {
  /** The lab's own directory (absolute): the Debian root, boot files, programs, and scratch space of running hosts. */
  readonly cache: string;
  /** Debian mirror, e.g. `http://deb.debian.org/debian`; absent: the default of mmdebstrap. */
  readonly mirror?: string | undefined;
}
