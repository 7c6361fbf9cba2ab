/**
 * Lengths and operand fields of x86-64 instructions (Intel SDM volume 2, chapter 2 and appendix A): as much as it takes
 * to walk a function and to find what it refers to.
 */
export interface Instruction {
  /** Offset in the code that was decoded. */
  readonly at: number;
  readonly length: number;
  readonly flow: 'next' | 'call' | 'jump' | 'branch';
  /** Direct branch: where its displacement lies (offset in the code), and of how many bytes it is. */
  readonly relative?: Field;
  /** Displacement of a memory operand of four bytes. */
  readonly memory?: Field & { readonly base: 'rip' | 'none' | 'register'; readonly indexed: boolean };
  /** The operand that ModRM names is a register, not memory. */
  readonly isRegister: boolean;
  /** Immediate operand of four or eight bytes. */
  readonly immediate?: Field;
  /** `lea`, or a no-operation: the operand is no access. */
  readonly isAddressOnly: boolean;
  /** Of the segment that holds per-cpu data. */
  readonly isPerCpu: boolean;
  /** Opcode byte behind the escapes, with its map (0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a). */
  readonly opcode: number;
  readonly map: number;
  readonly wide: boolean;
}

export interface Field {
  readonly at: number;
  readonly size: number;
}

const PREFIXES = new Set([0x66, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0, 0x67]);
/** Two-byte opcodes (0f xx) without a ModRM byte. */
const PLAIN_TWO = new Set([
  0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x37, 0x77, 0xa0, 0xa1, 0xa2, 0xa8,
  0xa9, 0xaa, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
]);
const BYTE_IMMEDIATE_TWO = new Set([0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6]);
const WITH_MODRM_ONE = new Set([
  0x62, 0x63, 0x69, 0x6b, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff,
]);

/** Decodes the instruction at an offset; `undefined` if the bytes are none that compilers emit for kernels. */
export function decodeAt(code: Uint8Array, start: number): Instruction | undefined {
  let at = start;
  let operandSize = 4;
  let isPerCpu = false;
  while (PREFIXES.has(code[at] ?? 0) && at - start < 14) {
    if (code[at] === 0x66) operandSize = 2;
    if (code[at] === 0x65) isPerCpu = true;
    at++;
  }
  let wide = false;
  if (((code[at] ?? 0) & 0xf0) === 0x40) wide = ((code[at++] ?? 0) & 8) !== 0;
  if (wide) operandSize = 4;
  let map = 0;
  let vector = false;
  let opcode = code[at++] ?? 0;
  if (opcode === 0xc5 || opcode === 0xc4 || opcode === 0x62) {
    // In 64-bit mode these are always VEX and EVEX.
    vector = true;
    map = opcode === 0xc5 ? 1 : (code[at] ?? 0) & (opcode === 0xc4 ? 0x1f : 7);
    at += opcode === 0xc5 ? 1 : opcode === 0xc4 ? 2 : 3;
    if (map < 1 || map > 3) return undefined;
    opcode = code[at++] ?? 0;
  } else if (opcode === 0x0f) {
    map = 1;
    opcode = code[at++] ?? 0;
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? 2 : 3;
      opcode = code[at++] ?? 0;
    }
  }
  const hasModrm = vector
    ? !(map === 1 && opcode === 0x77)
    : map === 0
      ? (opcode < 0x40 && (opcode & 7) < 4) ||
        (opcode >= 0x80 && opcode <= 0x8f) ||
        (opcode >= 0xd8 && opcode <= 0xdf) ||
        WITH_MODRM_ONE.has(opcode)
      : map > 1 || !(PLAIN_TWO.has(opcode) || (opcode >= 0x80 && opcode <= 0x8f));
  let memory: Instruction['memory'];
  let extension = 0;
  let isRegister = false;
  if (hasModrm) {
    const modrm = code[at++] ?? 0;
    extension = (modrm >> 3) & 7;
    const mode = modrm >> 6;
    const register = modrm & 7;
    isRegister = mode === 3;
    if (mode !== 3) {
      let base: 'rip' | 'none' | 'register' = 'register';
      let indexed = false;
      let hasWord = mode === 2;
      if (register === 4) {
        const sib = code[at++] ?? 0;
        // Without REX.X an index of 4 means no index; with the prefix it is r12.
        indexed = ((sib >> 3) & 7) !== 4 || rexOf(code, start, 2);
        if (mode === 0 && (sib & 7) === 5) {
          base = 'none';
          hasWord = true;
        }
      } else if (mode === 0 && register === 5) {
        base = 'rip';
        hasWord = true;
      }
      if (hasWord) {
        memory = { at, size: 4, base, indexed };
        at += 4;
      } else if (mode === 1) at += 1;
    }
  }
  let flow: Instruction['flow'] = 'next';
  let relative: Field | undefined;
  let immediate: Field | undefined;
  const byte = (): void => void at++;
  const word = (size: number): void => {
    if (size >= 4) immediate = { at, size };
    at += size;
  };
  const branch = (kind: Instruction['flow'], size: number): void => {
    flow = kind;
    relative = { at, size };
    at += size;
  };
  if (vector) {
    if (map === 3 || (map === 1 && BYTE_IMMEDIATE_TWO.has(opcode))) byte();
  } else if (map === 0) {
    if (opcode < 0x40) {
      if ((opcode & 7) === 4) byte();
      else if ((opcode & 7) === 5) word(operandSize);
      else if ((opcode & 7) > 5) return undefined;
    } else if (opcode === 0x68 || opcode === 0x69 || opcode === 0x81 || opcode === 0xa9 || opcode === 0xc7)
      word(operandSize);
    else if ([0x6a, 0x6b, 0x80, 0x83, 0xa8, 0xc0, 0xc1, 0xc6, 0xcd, 0xe4, 0xe5, 0xe6, 0xe7].includes(opcode)) byte();
    else if (opcode >= 0x70 && opcode <= 0x7f) branch('branch', 1);
    else if (opcode >= 0xa0 && opcode <= 0xa3) word(8);
    else if (opcode >= 0xb0 && opcode <= 0xb7) byte();
    else if (opcode >= 0xb8 && opcode <= 0xbf) word(wide ? 8 : operandSize);
    else if (opcode === 0xc2 || opcode === 0xca) at += 2;
    else if (opcode === 0xc8) at += 3;
    else if (opcode >= 0xe0 && opcode <= 0xe3) branch('branch', 1);
    else if (opcode === 0xe8) branch('call', 4);
    else if (opcode === 0xe9) branch('jump', 4);
    else if (opcode === 0xeb) branch('jump', 1);
    else if (opcode === 0xf6 && extension < 2) byte();
    else if (opcode === 0xf7 && extension < 2) word(operandSize);
    else if ([0x82, 0x9a, 0xd4, 0xd5, 0xd6, 0xea].includes(opcode)) return undefined;
  } else if (map === 1) {
    if (opcode >= 0x80 && opcode <= 0x8f) branch('branch', 4);
    else if (BYTE_IMMEDIATE_TWO.has(opcode)) byte();
  } else if (map === 3) byte();
  if (at > code.length || at - start > 15) return undefined;
  return {
    at: start,
    length: at - start,
    flow,
    ...(relative === undefined ? {} : { relative }),
    ...(memory === undefined ? {} : { memory }),
    ...(immediate === undefined ? {} : { immediate }),
    isAddressOnly: (map === 0 && opcode === 0x8d) || (map === 1 && opcode >= 0x18 && opcode <= 0x1f),
    isRegister,
    isPerCpu,
    opcode,
    map,
    wide,
  };
}

/** Whether the REX prefix of the instruction has a bit. */
function rexOf(code: Uint8Array, start: number, bit: number): boolean {
  let at = start;
  while (PREFIXES.has(code[at] ?? 0)) at++;
  const prefix = code[at] ?? 0;
  return (prefix & 0xf0) === 0x40 && (prefix & bit) !== 0;
}

/**
 * A whole function, instruction by instruction; `undefined` if one cannot be decoded. Bytes are decoded from the
 * first on.
 */
export function decode(code: Uint8Array): Instruction[] | undefined {
  const found: Instruction[] = [];
  for (let at = 0; at < code.length; ) {
    const instruction = decodeAt(code, at);
    if (instruction === undefined) return undefined;
    found.push(instruction);
    at += instruction.length;
  }
  return found;
}
