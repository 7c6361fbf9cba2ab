import type { Section } from '@kmend/elf';

/**
 * A constant that the kernel writes into its own code at boot, and into no module's
 * (arch/x86/include/asm/runtime-const.h, since 6.12): the value of a variable, or how far to shift. The section holds
 * the address of each operand.
 */
export interface RuntimeConstant {
  readonly kind: 'pointer' | 'shift';
  /** The variable whose value the constant has. */
  readonly name: string;
}

export function runtimeConstant({ name }: Pick<Section, 'name'>): RuntimeConstant | undefined {
  const [, kind, variable] = /^runtime_(ptr|shift)_(\w+)$/.exec(name) ?? [];
  return variable === undefined ? undefined : { kind: kind === 'ptr' ? 'pointer' : 'shift', name: variable };
}

/** `movabs $imm64,%reg` and `mov sym(%rip),%reg`, with three bytes of `nopl (%rax)` behind it, are equally long. */
const MOVE_SIZE = 10;
const OPERAND_SIZE = 8;
/** What the operand holds until the kernel has written it: no compiler puts it there. */
const UNWRITTEN = 0x0123_4567_89ab_cdefn;
const NOP = [0x0f, 0x1f, 0x00];

/**
 * Makes the instruction whose operand lies at `operand` read the variable: `movabs $0x123456789abcdef,%rax` becomes
 * `mov variable(%rip),%rax`, as modules of 6.12 do (arch/x86/include/asm/uaccess_64.h). Returns where the four bytes of
 * its displacement lie, the last ones of the instruction; `undefined`, with nothing changed, where the instruction is
 * another one.
 */
export function readVariable(code: Uint8Array, operand: number): number | undefined {
  const start = operand - (MOVE_SIZE - OPERAND_SIZE);
  const [prefix = 0, opcode = 0] = code.subarray(Math.max(start, 0), operand);
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const isMove = start >= 0 && (prefix === 0x48 || prefix === 0x49) && (opcode & 0xf8) === 0xb8;
  if (!isMove || operand + OPERAND_SIZE > code.length || view.getBigUint64(operand, true) !== UNWRITTEN)
    return undefined;
  // REX.B names the upper registers as the operand of movabs, REX.R as the destination of mov.
  const rex = prefix === 0x49 ? 0x4c : 0x48;
  code.set([rex, 0x8b, ((opcode & 7) << 3) | 5, 0, 0, 0, 0, ...NOP], start);
  return start + 3;
}
