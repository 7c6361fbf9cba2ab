import { sha256 } from '@kmend/base/node';
import { FixId } from '@kmend/protocol';

/** Longest id of a fix. */
const LONGEST = 64;

/**
 * The id of the fix that a set of files makes: by its first file, e.g. `net.core.sock.c`. Where that is too long it
 * begins with some digits of a hash.
 */
export function fixIdOf(paths: readonly string[]): string {
  const [first = ''] = paths;
  const name = first.replaceAll('/', '.').replaceAll(/[^\w.-]/g, '_');
  if (name.length <= LONGEST && FixId.safeParse(name).success) return name;
  const digits = sha256(first).slice(0, 8);
  return `${digits}.${name.slice(-(LONGEST - digits.length - 1))}`;
}
