import type { ShippedPart } from './shipped-code.ts';

/** `mov $imm32,%rdi`, sign-extended: REX.W C7 /0 with register 7. */
const TO_FIRST_ARGUMENT = [0x48, 0xc7, 0xc7];
const HANDLER = /^__ubsan_handle_\w+$/;

/**
 * Whether the shipped code at `at` hands over a record of its own to UBSAN (lib/ubsan.c): the record is the first
 * argument, and the next call, which nothing can jump over, is one of a handler. A compiler makes one check of two that
 * have the same index, so the new code of a changed function may have fewer.
 */
export function isUbsanRecord(
  { code, instructions, references }: Pick<ShippedPart, 'code' | 'instructions' | 'references'>,
  at: number,
  namesAt: (address: number) => readonly string[],
): boolean {
  if (!TO_FIRST_ARGUMENT.every((byte, index) => code[at + index] === byte)) return false;
  const next = instructions.find((one) => one.at > at && one.flow !== 'next');
  if (next?.flow !== 'call') return false;
  const called = references.find((one) => one.kind === 'call' && one.at === next.at);
  return called !== undefined && namesAt(called.target).some((name) => HANDLER.test(name));
}
