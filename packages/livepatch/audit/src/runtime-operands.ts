import type { Section } from '@kmend/elf';
import { type Address, addressOf } from './address.ts';

/**
 * An operand that the kernel writes into its own code at boot, and into no module's
 * (arch/x86/include/asm/runtime-const.h): the value of a variable, or how far to shift.
 */
export interface RuntimeOperand {
  readonly at: Address;
  readonly kind: 'ptr' | 'shift';
  readonly variable: string;
}

/** The sections that list them. */
export const RUNTIME_SECTION = /^runtime_(ptr|shift)_(\w+)$/;
const ENTRY_SIZE = 4;
/** The operands that sections of vmlinux list, each by its distance from the entry; in order of address. */
export function runtimeOperands(sections: readonly Pick<Section, 'name' | 'address' | 'data'>[]): RuntimeOperand[] {
  const found = sections.flatMap(({ name, address, data }): RuntimeOperand[] => {
    const [, kind, variable] = RUNTIME_SECTION.exec(name) ?? [];
    if (variable === undefined) return [];
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    return Array.from({ length: Math.floor(data.length / ENTRY_SIZE) }, (_, index) => ({
      at: addressOf(address) + index * ENTRY_SIZE + view.getInt32(index * ENTRY_SIZE, true),
      kind: kind === 'ptr' ? 'ptr' : 'shift',
      variable,
    }));
  });
  return found.sort((a, b) => a.at - b.at);
}
