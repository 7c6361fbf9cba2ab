import type { DeltaRange, Kernel } from '@kmend/kernel';
import type { Workshop } from '@kmend/pipeline';

/** What the parts of a coverage run work on. */
export interface Surroundings {
  readonly workshop: Workshop;
  /** The kernel that is patched. */
  readonly kernel: Kernel;
  /** The two versions of the distribution's source: the changes between them are the fixes. */
  readonly range: DeltaRange;
  /** Tells a person how far it is. */
  say(line: string): void;
}
