import type { Replacement } from './check-functions.ts';
import type { Findings } from './finding.ts';
import { RUNTIME_SECTION } from './runtime-operands.ts';
import type { Simulation } from './simulation.ts';

/** What an operand that is to get the value of a variable holds until then. */
const UNWRITTEN = 0x0123_4567_89ab_cdefn;

/**
 * New code waits for nothing to be written into it: a module's list is read by nobody, an operand of the first kind
 * would stay what it is, and a shift of the shipped function would be of the wrong distance.
 */
export function checkRuntimeOperands(
  { world, loaded, own }: Simulation,
  replacements: readonly Replacement[],
  findings: Findings,
): void {
  for (const { name } of loaded.file.sections)
    if (RUNTIME_SECTION.test(name))
      findings.add('table-astray', `the module has ${name}, which the kernel reads of vmlinux alone`);
  for (const { name, code, instructions } of own.functions) {
    const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
    for (const { at, immediate } of instructions) {
      if (immediate?.size !== 8 || view.getBigUint64(immediate.at, true) !== UNWRITTEN) continue;
      const place = `${name}+0x${at.toString(16)}`;
      findings.add('relocation-missing', `${place}: an operand that the kernel writes into vmlinux alone`, {
        symbol: name,
      });
    }
  }
  for (const { object, name, oldAddress, oldEnd } of replacements) {
    const shift = world.runtimeOperands(oldAddress, oldEnd).find(({ kind }) => kind === 'shift');
    if (shift === undefined) continue;
    const message = `${name} shifts by ${shift.variable}, which the kernel writes into its code at boot`;
    findings.add('function-unpatchable', message, { object, symbol: name });
  }
}
