import type { Atom } from '../object/atom.ts';
import { branchTarget, decodeInstruction } from '../object/instructions.ts';
import type { ObjectView } from '../object/view.ts';

/** Where a register's value goes: into a call, untouched on the way. */
export interface Argument {
  /** The register's number: 7 is RDI, 6 RSI, 2 RDX, 1 RCX, 8 and 9 R8 and R9. */
  readonly register: number;
  readonly callee: string;
}

/** Registers of the first arguments, by their numbers (psABI 3.2.3). */
export const ARGUMENTS: readonly number[] = [7, 6, 2, 1, 8, 9];

const FARTHEST = 24;

/**
 * The call that an instruction's destination register is an argument of: behind it come only instructions that are
 * known to leave the register alone, then the call. A jump that is always taken is followed; at all else, and at a
 * branch, it is `undefined`. `at`: offset in the section.
 */
export function argumentOf(view: ObjectView, atom: Atom, at: number): Argument | undefined {
  const { data } = atom.section;
  const register = destination(data, at);
  const first = decodeInstruction(data, at);
  if (register === undefined || first === undefined) return undefined;
  const calls = new Map(view.referencesIn(atom).map((reference) => [reference.offset, reference.target]));
  let place = at + first.length;
  for (let step = 0; step < FARTHEST && place >= atom.start && place < atom.end; step++) {
    const opcode = data[place];
    const target = calls.get(place + 1);
    const isJump = opcode === 0xe9 || opcode === 0xeb;
    // A call as the last thing that a function does is a jump to the other function.
    if (opcode === 0xe8 || (isJump && target !== undefined && target.atom !== atom))
      return target === undefined ? undefined : { register, callee: (target.atom?.symbol ?? target.symbol).name };
    if (isJump && target === undefined) {
      place = branchTarget(data, place) ?? atom.end;
      continue;
    }
    const length = decodeInstruction(data, place)?.length;
    if (length === undefined || touches(data, place, register)) return undefined;
    place += length;
  }
  return undefined;
}

interface Opcode {
  readonly opcode: number;
  readonly rex: number;
  /** Of the byte behind it. */
  readonly next: number;
}

/**
 * Without the prefixes of the operand's size and of per-cpu data, which change no register's place; others are not
 * expected where arguments are made.
 */
function opcodeAt(code: Uint8Array, at: number): Opcode {
  let place = at;
  while (code[place] === 0x65 || code[place] === 0x66) place++;
  const first = code[place] ?? 0;
  const hasRex = (first & 0xf0) === 0x40;
  if (hasRex) place++;
  return { opcode: code[place] ?? 0, rex: hasRex ? first : 0, next: place + 1 };
}

/** The register that `mov $imm,%reg`, or `lea` of an address, sets; of others `undefined`. */
function destination(code: Uint8Array, at: number): number | undefined {
  const { opcode, rex, next } = opcodeAt(code, at);
  const modrm = code[next] ?? 0;
  if ((opcode & 0xf8) === 0xb8) return (opcode & 7) | ((rex & 1) << 3);
  if (opcode === 0xc7 && modrm >> 3 === 0b11_000) return (modrm & 7) | ((rex & 1) << 3);
  if (opcode === 0x8d) return ((modrm >> 3) & 7) | ((rex & 4) << 1);
  return undefined;
}

/** Uses CL besides. */
const SHIFT_BY_CL = 0xd3;
const RCX = 1;

/** MOV of a byte between registers and memory. Without a REX prefix, registers 4 to 7 are AH, CH, DH and BH there. */
const BYTE_MOVES = [0x88, 0x8a];

/**
 * MOV, LEA, XOR, ADD, SUB and MOVSXD between registers and memory: all their registers are in the ModR/M and SIB bytes.
 */
const TWO_OPERANDS = new Set([...BYTE_MOVES, 0x01, 0x03, 0x29, 0x2b, 0x31, 0x33, 0x63, 0x89, 0x8b, 0x8d]);
/** The same with an immediate, and shifts: the middle field of the ModR/M byte is part of the opcode. */
const ONE_OPERAND = new Set([0x81, 0x83, 0xc1, 0xc7, 0xd1, SHIFT_BY_CL]);

/** Whether an instruction may use or change a register; of those that are not known it is assumed. */
function touches(code: Uint8Array, at: number, register: number): boolean {
  const { opcode, rex, next } = opcodeAt(code, at);
  if (opcode === 0x90 || opcode === 0x68 || opcode === 0x6a) return false;
  if (opcode === 0x0f && code[next] === 0x1f) return false;
  // MOV of an immediate, PUSH and POP.
  if ((opcode & 0xf8) === 0xb8 || (opcode & 0xf0) === 0x50) return ((opcode & 7) | ((rex & 1) << 3)) === register;
  const isExtending = opcode === 0x0f && [0xb6, 0xb7, 0xbe, 0xbf].includes(code[next] ?? 0);
  const hasTwo = isExtending || TWO_OPERANDS.has(opcode);
  if (!hasTwo && !ONE_OPERAND.has(opcode)) return true;
  const place = isExtending ? next + 1 : next;
  const modrm = code[place] ?? 0;
  const isHigh = rex === 0 && (((modrm >> 3) & 7) > 3 || (modrm >> 6 === 3 && (modrm & 7) > 3));
  if (BYTE_MOVES.includes(opcode) && isHigh) return true;
  const used = [(modrm & 7) | ((rex & 1) << 3)];
  if (opcode === SHIFT_BY_CL) used.push(RCX);
  if (hasTwo) used.push(((modrm >> 3) & 7) | ((rex & 4) << 1));
  if (modrm >> 6 !== 3 && (modrm & 7) === 4) {
    const sib = code[place + 1] ?? 0;
    used.push((sib & 7) | ((rex & 1) << 3), ((sib >> 3) & 7) | ((rex & 2) << 2));
  }
  return used.includes(register);
}
