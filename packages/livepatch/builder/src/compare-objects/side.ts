import type { Fingerprints } from '../compare/fingerprint.ts';
import type { ObjectView, Part } from '../object/view.ts';

/** One of the two objects, with what identifies its parts in both. */
export interface Side {
  readonly view: ObjectView;
  readonly prints: Fingerprints;
}

export interface Masked {
  /** Fields that refer to something are zero. */
  readonly bytes: Uint8Array;
  /** What each field refers to, by its offset. */
  readonly references: ReadonlyMap<number, string>;
}

export function masked({ view, prints }: Side, part: Part): Masked {
  const bytes = Buffer.alloc(part.end - part.start);
  bytes.set(part.section.data.subarray(part.start, part.end));
  const references = new Map<number, string>();
  for (const { offset, width, type, target } of view.referencesIn(part)) {
    const at = offset - part.start;
    bytes.fill(0, at, at + width);
    references.set(at, `${type} ${prints.target(target)}`);
  }
  return { bytes, references };
}
