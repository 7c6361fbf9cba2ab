import type { Section } from '@kmend/elf';
import { decodeInstruction, type Instruction } from './instructions.ts';

/** Where the instructions of code sections begin; decoded once a section, afresh at every function. */
export class CodeIndex {
  readonly #starts = new Map<Section, Int32Array>();
  readonly #entries: (section: Section) => readonly number[];

  /** `entries`: offsets, ascending, at which instructions surely begin. */
  constructor(entries: (section: Section) => readonly number[]) {
    this.#entries = entries;
  }

  /**
   * Bytes from the start of a relative field to the end of its instruction; `undefined` where there is no such
   * instruction.
   */
  tail(section: Section, field: number): number | undefined {
    const start = this.startOf(section, field);
    const instruction = decodeInstruction(section.data, start);
    if (instruction?.relative === undefined || start + instruction.relative.offset !== field) return undefined;
    return start + instruction.length - field;
  }

  /** The instruction that an offset lies in. */
  startOf(section: Section, offset: number): number {
    const starts = this.#sweep(section);
    return starts[lastAtMost(starts.length, offset, (index) => starts[index] ?? 0)] ?? 0;
  }

  #sweep(section: Section): Int32Array {
    const known = this.#starts.get(section);
    if (known !== undefined) return known;
    const found: number[] = [];
    const { data } = section;
    const entries = [...this.#entries(section), data.length];
    let at = 0;
    for (const next of entries) {
      while (at < next) {
        found.push(at);
        at = Math.min(next, at + (decodeInstruction(data, at)?.length ?? 1));
      }
    }
    const starts = Int32Array.from(found);
    this.#starts.set(section, starts);
    return starts;
  }
}

/** Instructions of a stretch of code, one after the other; bytes that are none count as one each. */
export function* instructionsIn(
  code: Uint8Array,
  start: number,
  end: number,
): Generator<Instruction & { readonly start: number }> {
  for (let at = start; at < end; ) {
    const instruction = decodeInstruction(code, at) ?? { length: 1, opcode: 0 };
    yield { ...instruction, start: at };
    at += instruction.length;
  }
}

/** Whether bytes between functions are filling: NOPs of any length, INT3, or zeros. */
export function isPadding(code: Uint8Array, start: number, end: number): boolean {
  for (const { start: at, length } of instructionsIn(code, start, end)) {
    if (code[at] === 0xcc || code.subarray(at, at + length).every((byte) => byte === 0)) continue;
    let opcode = at;
    while (isNopPrefix(code[opcode])) opcode++;
    const isNop = code[opcode] === 0x90 || (code[opcode] === 0x0f && code[opcode + 1] === 0x1f);
    if (!isNop) return false;
  }
  return true;
}

function isNopPrefix(byte: number | undefined): boolean {
  return byte === 0x66 || byte === 0x2e || byte === 0x3e || byte === 0xf3;
}

/** Index of the last of `count` ascending values that is at most `limit`; -1 if none is. */
export function lastAtMost(count: number, limit: number, value: (index: number) => number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value(middle) <= limit) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
