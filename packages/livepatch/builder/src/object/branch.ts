import { isPcRelative, type Section } from '@kmend/elf';

/**
 * Whether a field is the target of a call or jump, and not an address that the code keeps: `e8`/`e9` or `0f 8x` in
 * front of the field. An address taken relative to the instruction has a ModR/M byte there (00xxx101), which is none of
 * these. gas marks only branches to global symbols as such (R_X86_64_PLT32).
 */
export function isBranch(
  section: Section,
  { offset, type }: { readonly offset: number; readonly type: number },
): boolean {
  if (!isPcRelative(type)) return false;
  const opcode = section.data[offset - 1] ?? 0;
  // Also `eb`, the short jump that the assembler resolved.
  if (opcode === 0xeb || (opcode & 0xf0) === 0x70) return true;
  return opcode === 0xe8 || opcode === 0xe9 || (section.data[offset - 2] === 0x0f && (opcode & 0xf0) === 0x80);
}
