import { isPcRelative, SHF_EXECINSTR, STB_WEAK } from '@kmend/elf';
import type { Atom } from '../object/atom.ts';
import { branchTarget, decodeInstruction, type Instruction } from '../object/instructions.ts';
import type { ObjectView, Part } from '../object/view.ts';

const CALL = 0xe8;
/** RET near and far, IRET; behind 0x0f: SYSRET, SYSEXIT. */
const RETURNS: ReadonlySet<number> = new Set([0xc2, 0xc3, 0xca, 0xcb, 0xcf]);
const RETURNS_0F: ReadonlySet<number> = new Set([0x07, 0x35]);

/**
 * Which functions of an object never return: `skb_panic()` of net/core/skbuff.c is not marked as such, but ends in
 * BUG(), and gcc puts nothing behind its calls. objtool sees that in a function's own code (tools/objtool/check.c,
 * __dead_end_function()), and so cannot where the function stays in the kernel.
 */
export class DeadEnds {
  readonly #view: ObjectView;
  readonly #known = new Map<Atom, boolean>();

  constructor(view: ObjectView) {
    this.#view = view;
  }

  /** Offsets in a part's section where calls end that do not return. */
  callsIn(part: Part): number[] {
    if ((part.section.flags & SHF_EXECINSTR) === 0) return [];
    const { data } = part.section;
    return this.#view.referencesIn(part).flatMap(({ offset, type, width, target }) => {
      // An operand relative to RIP has a ModRM byte in front of it (00xxx101), which 0xe8 is not.
      const calls = data[offset - 1] === CALL && isPcRelative(type) && target.offset === 0;
      return calls && target.atom !== undefined && this.neverReturns(target.atom) ? [offset + width] : [];
    });
  }

  /** Stricter than objtool, which does not look at every jump: what is unclear returns. */
  neverReturns(atom: Atom): boolean {
    const known = this.#known.get(atom);
    if (known !== undefined) return known;
    const reached = new Set([atom]);
    // A set grows while it is gone through: all that the code jumps to, its pieces out of line among it.
    for (const part of reached) {
      const next = this.#known.get(part) === false ? undefined : this.#jumpsFrom(part);
      if (next === undefined) {
        this.#known.set(atom, false);
        return false;
      }
      for (const target of next) reached.add(target);
    }
    for (const part of reached) this.#known.set(part, true);
    return true;
  }

  /** Code that a part jumps to; `undefined` if it can return, or goes where that cannot be seen. */
  #jumpsFrom(part: Atom): Atom[] | undefined {
    const isWeak = [part.symbol, ...part.aliases].some((symbol) => symbol?.bind === STB_WEAK);
    if (part.kind !== 'function' || part.end === part.start || isWeak) return undefined;
    const { data } = part.section;
    const references = new Map(this.#view.referencesIn(part).map((reference) => [reference.offset, reference]));
    const targets: Atom[] = [];
    for (let at = part.start; at < part.end; ) {
      const instruction = decodeInstruction(data, at);
      if (instruction === undefined || returns(data, at, instruction)) return undefined;
      const { length, opcode, relative } = instruction;
      if (relative?.branch === true && data[at + opcode] !== CALL) {
        const reference = references.get(at + relative.offset);
        const inside = branchTarget(data, at) ?? part.end;
        if (reference === undefined ? inside < part.start || inside >= part.end : reference.target.atom === undefined)
          return undefined;
        if (reference?.target.atom !== undefined) targets.push(reference.target.atom);
      }
      at += length;
    }
    return targets;
  }
}

/** A return, or a jump through a register or memory. */
function returns(code: Uint8Array, start: number, { opcode, modrm }: Instruction): boolean {
  const at = start + opcode;
  const byte = code[at] ?? 0;
  if (byte === 0x0f) return RETURNS_0F.has(code[at + 1] ?? 0);
  if (RETURNS.has(byte)) return true;
  const extension = modrm === undefined ? undefined : ((code[start + modrm] ?? 0) >> 3) & 7;
  return byte === 0xff && (extension === 4 || extension === 5);
}
