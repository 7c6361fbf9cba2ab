import type { Address } from './address.ts';
import type { Field, Instruction } from './instructions.ts';

/** What an instruction refers to by an address in it. */
export interface Reference {
  readonly kind: 'call' | 'jump' | 'branch' | 'access' | 'address' | 'value';
  /** Offset of the instruction in the code. */
  readonly at: number;
  readonly field: Field;
  readonly target: Address;
  /** A register is added: the place may lie outside of what is meant, as `array-8(,%rax,8)` does. */
  readonly isShifted: boolean;
  /** An offset into per-cpu data. */
  readonly isPerCpu: boolean;
}

/** Text, data and modules of a kernel lie below this, counted from the end of the address space. */
const KERNEL_END = -0x1000_0000;

/**
 * The references of decoded code that lies at `base`. `isFilled`: whether a relocation gave a field its value; without,
 * values in the range of the kernel's addresses are taken for addresses, which other 64-bit constants do not lie in.
 */
export function referencesOf(
  code: Uint8Array,
  base: Address,
  instructions: readonly Instruction[],
  isFilled?: (field: Field) => boolean,
): Reference[] {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const found: Reference[] = [];
  for (const instruction of instructions) {
    const { at, length, flow, relative, memory, immediate, isPerCpu } = instruction;
    const end = base + at + length;
    if (relative !== undefined && flow !== 'next') {
      const distance = relative.size === 4 ? view.getInt32(relative.at, true) : view.getInt8(relative.at);
      found.push({ kind: flow, at, field: relative, target: end + distance, isShifted: false, isPerCpu: false });
    }
    if (memory !== undefined) {
      const value = view.getInt32(memory.at, true);
      const kind = instruction.isAddressOnly ? 'address' : 'access';
      if (memory.base === 'rip')
        found.push({ kind, at, field: memory, target: end + value, isShifted: false, isPerCpu });
      // %gs:0x28, the stack protector's value, has no relocation.
      else if ((isPerCpu && memory.base === 'none') || (isFilled?.(memory) ?? value < KERNEL_END))
        found.push({
          kind,
          at,
          field: memory,
          target: value,
          isShifted: memory.base === 'register' || memory.indexed,
          isPerCpu,
        });
    }
    if (immediate !== undefined) {
      const value =
        immediate.size === 4 ? view.getInt32(immediate.at, true) : Number(view.getBigInt64(immediate.at, true));
      const holdsAddress = immediate.size === 8 || instruction.wide || instruction.opcode === 0x68;
      const isKernel = value < KERNEL_END && value >= -0x8000_0000;
      // `mov $offset,%reg` in this longer form sign-extends: the assembler takes it for symbols alone.
      const isOffset = isLongMove(instruction) && value >= 0;
      if (isFilled?.(immediate) ?? (holdsAddress && (isKernel || isOffset)))
        found.push({ kind: 'value', at, field: immediate, target: value, isShifted: false, isPerCpu: isOffset });
    }
  }
  return found;
}

/** `mov $imm32,%reg64`; not `movq $0x0,-0x40(%rbp)`, whose displacement looks like the operand of one. */
export function isLongMove({ map, opcode, wide, isRegister, immediate }: Instruction): boolean {
  return map === 0 && opcode === 0xc7 && wide && isRegister && immediate !== undefined;
}
