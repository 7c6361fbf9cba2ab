import { STB_LOCAL } from '@kmend/elf';
import { BuilderError } from '../error.ts';
import type { ObjectView } from '../object/view.ts';
import type { Unit, UnitProof } from '../types.ts';

/**
 * Whether the linker took nothing of a unit, so that nothing of it can be patched: a member of an archive that no
 * object needs (lib/fdt_wip.c, of lib-y). All else that Kbuild's lists name is linked whole, and must be found.
 */
export function isUnlinked(unit: Unit, stock: ObjectView, proof: UnitProof): boolean {
  if (unit.object !== 'vmlinux' || proof.equal.length > 0) return false;
  // The names of static functions may be others in the kernel's build; those of global ones are not.
  const hasGlobal = stock.functions.some(({ symbol }) => symbol !== undefined && symbol.bind !== STB_LOCAL);
  return hasGlobal && proof.different.every(({ reason }) => reason === 'not-in-kernel');
}

/** A unit of this kernel that a changed header reaches, and of which it cannot be told what the change does to it. */
export function doesNotCompileHere({ source, object }: Unit, cause: Error): BuilderError {
  const message = `the change of a header can change ${source}, which is part of ${object}, but the file does not compile here even unpatched: ${cause.message}`;
  return new BuilderError('tree-failed', message, {
    hint: 'write the fix without the change of the header: docs/authoring.md',
  });
}
