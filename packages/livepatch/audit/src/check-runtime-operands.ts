import type { Replacement } from './check-functions.ts';
import type { Findings } from './finding.ts';
import type { OwnFunction } from './own-code.ts';
import { RUNTIME_SECTION } from './runtime-operands.ts';
import type { World } from './world.ts';

/** What an operand that is to get the value of a variable holds until then. */
const UNWRITTEN = 0x0123_4567_89ab_cdefn;

/** What the check reads of a simulation. */
interface Checked {
  readonly world: Pick<World, 'runtimeOperands'>;
  readonly loaded: { readonly file: { readonly sections: readonly { readonly name: string }[] } };
  readonly own: { readonly functions: readonly Pick<OwnFunction, 'name' | 'code' | 'instructions'>[] };
}

/**
 * New code has no operand that the kernel would have to fill in: the kernel reads no module's list. Otherwise new code
 * would compare with 0x123456789abcdef, or shift by the wrong distance.
 */
export function checkRuntimeOperands(
  { world, loaded, own }: Checked,
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
