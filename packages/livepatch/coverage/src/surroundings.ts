import type { JudgedUpdate } from '@kmend/pipeline';

/** What the parts of a coverage run work on. */
export interface Surroundings extends JudgedUpdate {
  /** Tells a person how far it is. */
  say(line: string): void;
}
