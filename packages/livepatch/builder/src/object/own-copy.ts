import { CALLBACKS_SECTION } from '../author/callbacks.ts';
import type { Atom } from './atom.ts';
import { isStaticLocalName, stem } from './names.ts';

const NOISE = new Set([
  '__key',
  '__warned',
  '__already_done',
  '_rs',
  '__print_once',
  '__flags',
  '__func__',
  '__FUNCTION__',
  '__PRETTY_FUNCTION__',
  '_entry',
  '_entry_ptr',
  'descriptor',
]);

/**
 * Data of which every copy is as good as another: source-location noise, once-flags, lock classes, conversion tables,
 * texts; and what is meant for the builder. A livepatch carries its own; comparing it with the kernel's would tell
 * nothing.
 *
 * A constant inside a function is none of it: `empty_iops` of inode_init_always() (fs/inode.c) is what every new inode
 * points to, so that a copy of the livepatch's would be pointed to when the livepatch is long gone.
 */
export function isOwnCopy(atom: Atom): boolean {
  if (atom.kind !== 'data') return false;
  const name = atom.symbol?.name ?? '';
  const section = atom.section.name;
  return (
    NOISE.has(variableName(name)) ||
    variableName(name).startsWith('__UNIQUE_ID_') ||
    name.startsWith('.L') ||
    (section.startsWith('.rodata') && isStaticLocalName(name) && (isCompilerMade(name) || isText(atom))) ||
    // Each record in a section of its own (-fdata-sections).
    section.startsWith('.data..Lubsan') ||
    section === '.data.once' ||
    section === '.data..once' ||
    section === '__dyndbg' ||
    section === CALLBACKS_SECTION
  );
}

/** What the source calls a variable: clang puts the function's name in front of it (`probe.__key.8`). */
function variableName(name: string): string {
  return stem(name).replace(/^.*\./, '');
}

/**
 * Tables that `switch` becomes and initial values of variables on the stack, which the source cannot name: gcc's
 * `CSWTCH.7` and `C.3.0`, clang's `switch.table.probe` and `__const.probe.limits`.
 */
function isCompilerMade(name: string): boolean {
  return /^(?:CSWTCH|C)\.\d|^switch\.table\.|^__const\./.test(name);
}

/**
 * `__func__.2`, `__msg.5`: a text like those without a name. Told by what is in it; every address in an object is
 * zeros.
 */
function isText({ section, start, end }: Atom): boolean {
  const bytes = section.data.subarray(start, end);
  return bytes.length > 1 && bytes.at(-1) === 0 && bytes.subarray(0, -1).every(isPrintable);
}

/** UTF-8 too, and the level of a kernel message (include/linux/kern_levels.h, KERN_SOH). */
function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte !== 0x7f) || byte === 1 || (byte >= 9 && byte <= 13);
}
