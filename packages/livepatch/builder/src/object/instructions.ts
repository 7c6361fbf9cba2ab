/**
 * Lengths of x86-64 instructions, and where in them an address relative to their end lies: what is needed to follow a
 * call that the assembler has resolved by itself, and to know what a relocated field counts from. Encodings: Intel SDM
 * volume 2, chapter 2 and appendix A.
 */

/** What follows the opcode: nothing, a ModRM byte, an immediate, or both. */
const NONE = 0;
const MODRM = 1;
const IMM8 = 2;
const MODRM_IMM8 = 3;
/** An immediate of the operand's size, at most 4 bytes. */
const IMMZ = 4;
const MODRM_IMMZ = 5;
const IMM16 = 6;
const BRANCH8 = 7;
const BRANCH32 = 8;
const SPECIAL = 9;
const INVALID = 10;

type Ranges = readonly (readonly [first: number, last: number, form: number])[];

function formsOf(ranges: Ranges, rest: number): Uint8Array {
  const forms = new Uint8Array(256).fill(rest);
  for (const [first, last, form] of ranges) forms.fill(form, first, last + 1);
  return forms;
}

function arithmetic(): Ranges {
  return Array.from({ length: 8 }, (_, index) => index * 8).flatMap((row) => [
    [row, row + 3, MODRM] as const,
    [row + 4, row + 4, IMM8] as const,
    [row + 5, row + 5, IMMZ] as const,
    [row + 6, row + 7, INVALID] as const,
  ]);
}

const ONE_BYTE = formsOf(
  [
    ...arithmetic(),
    [0x60, 0x62, INVALID],
    [0x63, 0x63, MODRM],
    [0x68, 0x68, IMMZ],
    [0x69, 0x69, MODRM_IMMZ],
    [0x6a, 0x6a, IMM8],
    [0x6b, 0x6b, MODRM_IMM8],
    [0x70, 0x7f, BRANCH8],
    [0x80, 0x80, MODRM_IMM8],
    [0x81, 0x81, MODRM_IMMZ],
    [0x82, 0x82, INVALID],
    [0x83, 0x83, MODRM_IMM8],
    [0x84, 0x8f, MODRM],
    [0x9a, 0x9a, INVALID],
    [0xa0, 0xa3, SPECIAL],
    [0xa8, 0xa8, IMM8],
    [0xa9, 0xa9, IMMZ],
    [0xb0, 0xb7, IMM8],
    [0xb8, 0xbf, SPECIAL],
    [0xc0, 0xc1, MODRM_IMM8],
    [0xc2, 0xc2, IMM16],
    [0xc4, 0xc5, INVALID],
    [0xc6, 0xc6, MODRM_IMM8],
    [0xc7, 0xc7, MODRM_IMMZ],
    [0xc8, 0xc8, SPECIAL],
    [0xca, 0xca, IMM16],
    [0xcd, 0xcd, IMM8],
    [0xce, 0xce, INVALID],
    [0xd0, 0xd3, MODRM],
    [0xd4, 0xd6, INVALID],
    [0xd8, 0xdf, MODRM],
    [0xe0, 0xe3, BRANCH8],
    [0xe4, 0xe7, IMM8],
    [0xe8, 0xe9, BRANCH32],
    [0xea, 0xea, INVALID],
    [0xeb, 0xeb, BRANCH8],
    [0xf6, 0xf7, SPECIAL],
    [0xfe, 0xff, MODRM],
  ],
  NONE,
);

const TWO_BYTE = formsOf(
  [
    [0x04, 0x09, NONE],
    [0x0b, 0x0b, NONE],
    [0x0e, 0x0e, NONE],
    [0x0f, 0x0f, MODRM_IMM8],
    [0x24, 0x27, INVALID],
    [0x30, 0x37, NONE],
    [0x38, 0x3f, INVALID],
    [0x70, 0x73, MODRM_IMM8],
    [0x77, 0x77, NONE],
    [0x80, 0x8f, BRANCH32],
    [0xa0, 0xa2, NONE],
    [0xa4, 0xa4, MODRM_IMM8],
    [0xa8, 0xaa, NONE],
    [0xac, 0xac, MODRM_IMM8],
    [0xba, 0xba, MODRM_IMM8],
    [0xc2, 0xc2, MODRM_IMM8],
    [0xc4, 0xc6, MODRM_IMM8],
    [0xc8, 0xcf, NONE],
  ],
  MODRM,
);

const LEGACY_PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const MAX_LENGTH = 15;

export interface Instruction {
  readonly length: number;
  /** Where the opcode lies, behind prefixes and REX. */
  readonly opcode: number;
  readonly modrm?: number;
  /** A memory operand's displacement of 4 bytes, relative to RIP or not. */
  readonly displacement?: number;
  /** The field that counts from the instruction's end: of a branch, or of an operand relative to RIP. */
  readonly relative?: { readonly offset: number; readonly width: 1 | 4; readonly branch: boolean };
}

type Rest = Omit<Instruction, 'opcode'>;

/** The instruction at an offset, with places in it from its start; `undefined` for bytes that are none, or cut off. */
export function decodeInstruction(code: Uint8Array, start: number): Instruction | undefined {
  const instruction = decode(code, start);
  if (instruction === undefined || instruction.length > MAX_LENGTH || start + instruction.length > code.length)
    return undefined;
  return instruction;
}

/** The offset that a branch leads to; `undefined` for other instructions. */
export function branchTarget(code: Uint8Array, start: number): number | undefined {
  const instruction = decodeInstruction(code, start);
  if (instruction?.relative?.branch !== true) return undefined;
  const { offset, width } = instruction.relative;
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const distance = width === 1 ? view.getInt8(start + offset) : view.getInt32(start + offset, true);
  return start + instruction.length + distance;
}

/** A branch's target as it is shown: from the start of its function. */
export function branchText(code: Uint8Array, start: number, functionStart = 0): string | undefined {
  const target = branchTarget(code, start);
  return target === undefined ? undefined : `+0x${(target - functionStart).toString(16)}`;
}

function decode(code: Uint8Array, start: number): Instruction | undefined {
  let at = start;
  let operand16 = false;
  let address32 = false;
  for (let prefix = code[at]; prefix !== undefined && LEGACY_PREFIXES.has(prefix); prefix = code[++at]) {
    if (prefix === 0x66) operand16 = true;
    if (prefix === 0x67) address32 = true;
  }
  let wide = false;
  const rex = code[at] ?? 0;
  if ((rex & 0xf0) === 0x40) {
    wide = (rex & 8) !== 0;
    at++;
  }
  const rest = decodeOpcode(code, start, at, { operand16, address32, wide });
  return rest === undefined ? undefined : { ...rest, opcode: at - start };
}

interface Prefixes {
  readonly operand16: boolean;
  readonly address32: boolean;
  readonly wide: boolean;
}

function decodeOpcode(code: Uint8Array, start: number, opcodeAt: number, prefixes: Prefixes): Rest | undefined {
  const { operand16, address32, wide } = prefixes;
  const opcode = code[opcodeAt];
  const at = opcodeAt + 1;
  if (opcode === undefined) return undefined;
  if (opcode === 0xc4 || opcode === 0xc5 || opcode === 0x62) return decodeVector(code, start, at, opcode);
  const immediate = operand16 && !wide ? 2 : 4;
  if (opcode === 0x0f) return decodeTwoByte(code, start, at, immediate);
  const form = ONE_BYTE[opcode] ?? INVALID;
  if (form !== SPECIAL) return finish(code, start, at, form, immediate);
  if (opcode <= 0xa3) return { length: at + (address32 ? 4 : 8) - start };
  if (opcode <= 0xbf) return { length: at + (wide ? 8 : immediate) - start };
  if (opcode === 0xc8) return { length: at + 3 - start };
  // TEST has an immediate, the other instructions of group 3 have none.
  const isTest = (((code[at] ?? 0) >> 3) & 7) < 2;
  return finish(code, start, at, isTest ? (opcode === 0xf6 ? MODRM_IMM8 : MODRM_IMMZ) : MODRM, immediate);
}

function decodeTwoByte(code: Uint8Array, start: number, at: number, immediate: number): Rest | undefined {
  const opcode = code[at];
  if (opcode === undefined) return undefined;
  if (opcode === 0x38) return finish(code, start, at + 2, MODRM, immediate);
  if (opcode === 0x3a) return finish(code, start, at + 2, MODRM_IMM8, immediate);
  // Moves to and from control and debug registers have no memory form, whatever their ModRM byte says.
  if (opcode >= 0x20 && opcode <= 0x23) return { length: at + 2 - start };
  return finish(code, start, at + 1, TWO_BYTE[opcode] ?? INVALID, immediate);
}

/** VEX and EVEX: a ModRM byte always (but VZEROUPPER), an immediate where the legacy opcode of that map has one. */
function decodeVector(code: Uint8Array, start: number, at: number, lead: number): Rest | undefined {
  const payload = lead === 0xc5 ? 1 : lead === 0xc4 ? 2 : 3;
  const first = code[at] ?? 0;
  const map = lead === 0xc5 ? 1 : lead === 0xc4 ? first & 0x1f : first & 7;
  const opcode = code[at + payload];
  if (opcode === undefined || map === 0) return undefined;
  const behind = at + payload + 1;
  if (lead !== 0x62 && map === 1 && opcode === 0x77) return { length: behind - start };
  const hasImmediate = map === 3 || (map === 1 && TWO_BYTE[opcode] === MODRM_IMM8);
  return finish(code, start, behind, hasImmediate ? MODRM_IMM8 : MODRM, 4);
}

function finish(code: Uint8Array, start: number, at: number, form: number, immediate: number): Rest | undefined {
  switch (form) {
    case NONE:
      return { length: at - start };
    case IMM8:
      return { length: at + 1 - start };
    case IMM16:
      return { length: at + 2 - start };
    case IMMZ:
      return { length: at + immediate - start };
    case BRANCH8:
      return { length: at + 1 - start, relative: { offset: at - start, width: 1, branch: true } };
    case BRANCH32:
      // The operand-size prefix does not shorten a branch (Intel 64; binutils agrees by default).
      return { length: at + 4 - start, relative: { offset: at - start, width: 4, branch: true } };
    case MODRM:
      return withModRm(code, start, at, 0);
    case MODRM_IMM8:
      return withModRm(code, start, at, 1);
    case MODRM_IMMZ:
      return withModRm(code, start, at, immediate);
    default:
      return undefined;
  }
}

function withModRm(code: Uint8Array, start: number, at: number, immediate: number): Rest | undefined {
  const byte = code[at];
  if (byte === undefined) return undefined;
  const mod = byte >> 6;
  const rm = byte & 7;
  const modrm = at - start;
  let next = at + 1;
  if (mod === 3) return { length: next + immediate - start, modrm };
  let isFar = mod === 2;
  if (rm === 4) {
    const base = (code[next++] ?? 0) & 7;
    if (mod === 0 && base === 5) isFar = true;
  } else if (mod === 0 && rm === 5) {
    const offset = next - start;
    const relative = { offset, width: 4, branch: false } as const;
    return { length: next + 4 + immediate - start, modrm, displacement: offset, relative };
  }
  if (isFar) return { length: next + 4 + immediate - start, modrm, displacement: next - start };
  if (mod === 1) next += 1;
  return { length: next + immediate - start, modrm };
}
