import { coldPart } from './hooks.ts';
import { patternOf } from './pattern.ts';

const COLD = patternOf(coldPart);

/** A function of an object as one key, its cold part (gcc's `name.cold`) counted to it: `vmlinux tcp_ack`. */
export function functionKey(object: string, name: string): string {
  return `${object} ${name.replace(COLD, '')}`;
}

/** What a livepatch patches, as far as the rules look at it. */
export interface PatchedObject {
  /** `vmlinux` or a module. */
  readonly name: string;
  readonly functions: readonly { readonly name: string }[];
}
