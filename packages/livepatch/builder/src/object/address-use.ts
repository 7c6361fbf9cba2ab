import { R_X86_64_PLT32 } from '@kmend/elf';
import type { Atom } from './atom.ts';
import { decodeInstruction } from './instructions.ts';
import type { ObjectView, Reference } from './view.ts';

/**
 * What an instruction does with the place that it names:
 *
 * - `branch`: it goes there;
 * - `operand`: it reads or writes there (`mov table(,%rax,8),%rdx`), so that the address itself stays in the
 *   instruction;
 * - `compared`: it compares the address with another one;
 * - `stored`: it writes the address to memory, elsewhere than on the stack (`movq $empty_iops,0x20(%rbx)`);
 * - `taken`: anything else, such as an address in a register.
 */
export interface AddressUse {
  readonly kind: 'branch' | 'operand' | 'compared' | 'stored' | 'taken';
  /** Of `taken`: the register that has it then, as instructions number them. */
  readonly register?: number;
}

/** What the code of a function, or a piece of code out of line, does with what one of its fields refers to. */
export function addressUse(view: ObjectView, { section }: Pick<Atom, 'section'>, reference: Reference): AddressUse {
  const { data } = section;
  const start = view.instructionStart(section, reference.offset);
  const instruction = decodeInstruction(data, start);
  const field = reference.offset - start;
  if (instruction === undefined) return { kind: reference.type === R_X86_64_PLT32 ? 'branch' : 'taken' };
  const { relative, displacement, modrm } = instruction;
  if (relative?.branch === true && relative.offset === field) return { kind: 'branch' };
  const opcode = data[start + instruction.opcode] ?? 0;
  const form = modrm === undefined ? undefined : (data[start + modrm] ?? 0);
  if (displacement === field) {
    if (opcode !== 0x8d || form === undefined) return { kind: 'operand' };
    return taken(((form >> 3) & 7) | (rexBit(data, start + instruction.opcode, 4) << 3));
  }
  // movabs to and from an address.
  if (opcode >= 0xa0 && opcode <= 0xa3) return { kind: 'operand' };
  if (opcode >= 0xb8 && opcode <= 0xbf) {
    return taken((opcode & 7) | (rexBit(data, start + instruction.opcode, 1) << 3));
  }
  if (form === undefined) return { kind: opcode === 0x3d ? 'compared' : 'taken' };
  if (opcode === 0x81 && ((form >> 3) & 7) === 7) return { kind: 'compared' };
  if (opcode !== 0xc7) return { kind: 'taken' };
  if (form >> 6 === 3) return taken((form & 7) | (rexBit(data, start + instruction.opcode, 1) << 3));
  // The base is the stack pointer: of an SIB byte, without the REX bit that makes it r12.
  const sib = data[start + (modrm ?? 0) + 1] ?? 0;
  const isStack = (form & 7) === 4 && (sib & 7) === 4 && rexBit(data, start + instruction.opcode, 1) === 0;
  return { kind: isStack ? 'taken' : 'stored' };
}

function taken(register: number): AddressUse {
  return { kind: 'taken', register };
}

/** A bit of the REX prefix in front of an opcode (1: B, 4: R), as 0 or 1. */
function rexBit(code: Uint8Array, opcode: number, bit: 1 | 4): 0 | 1 {
  const rex = code[opcode - 1] ?? 0;
  return (rex & 0xf0) === 0x40 && (rex & bit) !== 0 ? 1 : 0;
}
