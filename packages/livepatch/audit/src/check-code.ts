import { R_X86_64_64, SHF_ALLOC, SHF_STRINGS } from '@kmend/elf';
import { type Address, hex } from './address.ts';
import type { Beside } from './check-twins.ts';
import type { Findings } from './finding.ts';
import type { Instruction } from './instructions.ts';
import type { Loaded, SectionPlace } from './loaded.ts';
import { isNameless, type OwnCode, type OwnFunction } from './own-code.ts';
import { isLongMove, type Reference } from './references.ts';
import type { Located } from './shipped-module.ts';
import type { Simulation } from './simulation.ts';
import type { World } from './world.ts';

/**
 * Every instruction of the new code: branches lead to the start of a function or to an instruction of the same one,
 * other references into a known variable, and no operand is empty that a relocation should have filled in.
 */
export function checkCode(simulation: Simulation, beside: readonly Beside[], findings: Findings): void {
  const { world, loaded, own } = simulation;
  for (const one of own.functions) {
    const twins = beside.find(({ functions }) => functions.includes(one));
    checkFields(loaded, one, twins, findings);
    for (const reference of one.references) {
      if (reference.kind === 'call' || reference.kind === 'jump' || reference.kind === 'branch') {
        const why = branchFault(one, reference, own, world);
        if (why !== undefined) findings.add('branch-astray', astray(one, reference, why), { symbol: one.name });
      } else {
        const filled = loaded.fields.get(one.section)?.get(one.start + reference.field.at);
        const meant = filled === undefined ? undefined : loaded.addressOf(filled.symbol);
        const isName = filled !== undefined && NAMES.test(filled.symbol.name) && reference.kind !== 'access';
        const why =
          isName && reference.target !== meant
            ? `does not lead to the start of ${filled.symbol.name}`
            : referenceFault(reference, meant, simulation);
        if (why !== undefined) findings.add('reference-astray', astray(one, reference, why), { symbol: one.name });
      }
    }
  }
  checkDataFields(simulation, findings);
}

/** Names of functions are handed on as a whole. */
const NAMES = /^__(?:func|FUNCTION|PRETTY_FUNCTION)__(?:\.\d+)?$/;

function astray(one: OwnFunction, { at, kind, target }: Reference, why: string): string {
  return `${one.name}+0x${at.toString(16)}: the ${kind} to ${hex(target)} ${why}`;
}

/** Fields that relocations fill in are operands, and operands that only a relocation can fill in are filled in. */
function checkFields(loaded: Loaded, one: OwnFunction, beside: Beside | undefined, findings: Findings): void {
  const fields = loaded.fields.get(one.section);
  if (fields === undefined) return;
  const operands = new Map<number, number>();
  const view = new DataView(one.code.buffer, one.code.byteOffset, one.code.byteLength);
  for (const instruction of one.instructions) {
    for (const field of [instruction.relative, instruction.memory, instruction.immediate])
      if (field !== undefined) operands.set(field.at, field.size);
    const missing = emptyOperand(instruction, one, (at) => fields.has(one.start + at), view);
    if (missing !== undefined && !(readsNull(instruction, view) && isShipped(instruction, one, beside))) {
      findings.add(
        'relocation-missing',
        `${one.name}+0x${instruction.at.toString(16)}: ${missing}, and no relocation fills it in`,
        { symbol: one.name },
      );
    }
  }
  for (const [offset, { size }] of fields) {
    const at = offset - one.start;
    if (at < 0 || at >= one.size || operands.get(at) === size) continue;
    findings.add(
      'reference-astray',
      `${one.name}+0x${at.toString(16)}: a relocation writes ${size} bytes where no operand is`,
      { symbol: one.name },
    );
  }
}

/** gcc reads address 0 where it knows a pointer to be NULL (fs/overlayfs/inode.c of 6.12, ovl_get_inode). */
function readsNull({ memory, isPerCpu, isAddressOnly }: Instruction, view: DataView): boolean {
  return (
    memory?.base === 'none' && !memory.indexed && !isPerCpu && !isAddressOnly && view.getInt32(memory.at, true) === 0
  );
}

/** Whether a kernel has the very same instruction in that place, relocated as it is there. */
function isShipped({ at, length }: Instruction, one: OwnFunction, beside: Beside | undefined): boolean {
  const own = one.code.subarray(at, at + length);
  return [beside?.shipped, ...(beside?.fixed ?? [])].some((twin) => {
    const address = twin?.address(one.address + at);
    const bytes = address === undefined ? undefined : twin?.world.read(address, length);
    return bytes !== undefined && Buffer.compare(bytes, own) === 0;
  });
}

/** The first page, which NULL and the members of what it would point to lie in, is never mapped. */
const PAGE_SIZE = 4096;

function emptyOperand(
  instruction: Instruction,
  one: OwnFunction,
  isFilled: (at: number) => boolean,
  view: DataView,
): string | undefined {
  const { relative, memory, immediate, at, length } = instruction;
  if (relative?.size === 4 && !isFilled(relative.at)) {
    const distance = view.getInt32(relative.at, true);
    if (distance === 0) return 'a branch to the next instruction';
  }
  if (memory !== undefined && !isFilled(memory.at)) {
    const value = view.getInt32(memory.at, true);
    if (memory.base === 'rip') {
      const target = at + length + value;
      // `lea` of the next instruction is what _THIS_IP_ becomes.
      const isHere = value === 0 && !instruction.isAddressOnly;
      if (isHere || !one.boundaries.has(target))
        return 'an operand counted from the instruction leads to no code of the function';
    } else if (memory.base === 'none' && !instruction.isAddressOnly) {
      // %gs:0x28 holds the stack protector's value (CONFIG_STACKPROTECTOR). A pointer that is known to be NULL is read
      // as `0x30`, a member's offset, where the fix checks for it too late; a field that a relocation has to fill is
      // zero.
      const isStackProtector = instruction.isPerCpu && value === 0x28;
      const isOfNull = !instruction.isPerCpu && !memory.indexed && value > 0 && value < PAGE_SIZE;
      if (!isStackProtector && !isOfNull) return `an operand at the absolute address ${value}`;
    } else if (memory.base === 'register' && value === 0 && !isNop(instruction)) {
      // The assembler has a shorter form for a displacement of zero that it knows.
      return 'an operand with an empty displacement';
    }
  }
  if (immediate?.size === 4 && !isFilled(immediate.at)) {
    const value = view.getInt32(immediate.at, true);
    const short = instruction.map === 0 && [0x68, 0x69, 0x81].includes(instruction.opcode);
    if ((isLongMove(instruction) && value >= 0) || (short && value === 0))
      return 'an operand of the form that is for addresses';
  }
  return undefined;
}

function isNop({ map, opcode }: Instruction): boolean {
  return (map === 1 && opcode >= 0x18 && opcode <= 0x1f) || (map === 0 && opcode === 0x8d);
}

const ENDBR_SIZE = 4;

function branchFault(
  one: OwnFunction,
  { kind, target, at }: Reference,
  own: OwnCode,
  world: World,
): string | undefined {
  const found = own.functionAt(target);
  if (found !== undefined) {
    const isStart = found.offset === 0;
    if (isStart && (kind !== 'branch' || found.function !== one)) return undefined;
    if (!found.function.boundaries.has(found.offset))
      return `leads into the middle of an instruction of ${found.function.name}`;
    if (found.function === one && kind !== 'call') return undefined;
    if (kind !== 'call' && (isPartOf(found.function.name, one.name) || isNameless(found.function) || isNameless(one)))
      return undefined;
    if (isStart) return undefined;
    return `leads into ${found.function.name}, at +0x${found.offset.toString(16)}`;
  }
  const located = world.locate(target);
  if (located === undefined) return 'leads nowhere';
  const where = `${located.names[0] ?? located.object}+0x${(target - located.start).toString(16)}`;
  if (!located.isCode) return `leads into data, ${where} of ${located.object}`;
  if (located.isInit) return `leads to ${where} of ${located.object}, which the kernel drops after its start`;
  // What returns is jumped to, and the tracer is called first of all.
  if (kind === 'call' && located.names.includes('__x86_return_thunk')) return 'returns at once';
  if (located.names.includes('__fentry__') && (kind !== 'call' || at > ENDBR_SIZE))
    return 'is to the tracer, and not where a function begins';
  if (target !== located.start || located.names.length === 0)
    return `leads into the middle of ${where} of ${located.object}`;
  return undefined;
}

/** A function and what the compiler moved out of it jump into each other. */
function isPartOf(a: string, b: string): boolean {
  const parent = (name: string): string => name.replace(/\.cold(?:\.\d+)?$/, '');
  return parent(a) === parent(b);
}

/** Why a reference is wrong. `meant`: the address of the symbol that the field is filled in with. */
function referenceFault(reference: Reference, meant: Address | undefined, simulation: Simulation): string | undefined {
  const { world, loaded } = simulation;
  const { kind, isPerCpu } = reference;
  const target = aimOf(reference, meant, loaded);
  const place = loaded.at(target);
  if (place !== undefined) return ownFault(place, kind !== 'access', simulation);
  const located = (kind === 'access' ? undefined : endsAt(target, world)) ?? world.locate(target);
  if (located === undefined) return isPerCpu && target === 0x28 ? undefined : 'leads nowhere';
  const where = `${located.names[0] ?? located.object}+0x${(target - located.start).toString(16)} of ${located.object}`;
  if (located.isInit) return `leads to ${where}, which the kernel drops after its start`;
  if (located.isCode && target !== located.start) return `leads into the middle of the function ${where}`;
  if (located.isCode && kind === 'access') return `reads or writes the function ${where}`;
  return undefined;
}

/** How far in front of an array an address may lie to which a register is added, and one that a loop counts from. */
const SHIFT = 0x1000;
const STEP = 0x40;

/**
 * What a reference is about. Compilers count from places before an array, `neigh_tables-8(,%rax,8)`: then the array
 * itself, where it is what the relocation names.
 */
function aimOf({ kind, target, isShifted }: Reference, meant: Address | undefined, loaded: Loaded): Address {
  const room = isShifted ? SHIFT : kind === 'access' ? 0 : STEP;
  if (meant === undefined || target >= meant || target < meant - room) return target;
  const section = loaded.at(meant)?.section;
  const isArray = section === undefined || !(loaded.isCode(section) || (section.flags & SHF_STRINGS) !== 0);
  return isArray ? meant : target;
}

/** Ends of arrays are compared with, never read: `cmp $types+0x20,%rax`. Behind one another section may begin. */
function endsAt(target: Address, world: World): Located | undefined {
  const last = world.locate(target - 1);
  const next = world.locate(target);
  const isOther = next === undefined || next.isInit || next.isCode;
  return isOther && next?.start !== target && last !== undefined && !last.isCode ? last : undefined;
}

/** A reference of code or data to a place in the livepatch itself. */
function ownFault({ section, offset }: SectionPlace, mayEnd: boolean, { loaded, own }: Simulation): string | undefined {
  if (loaded.isCode(section)) {
    const found = own.functionAt((loaded.base(section) ?? 0) + offset);
    if (found === undefined) return undefined;
    return found.function.boundaries.has(found.offset)
      ? undefined
      : `leads into the middle of an instruction of ${found.function.name}`;
  }
  // The module's linker joins equal strings, but not one with another's end.
  const isInsideText =
    (section.flags & SHF_STRINGS) !== 0 &&
    offset > 0 &&
    offset < section.size &&
    loaded.memory(section)[offset - 1] !== 0;
  if (isInsideText)
    return `leads into the middle of the text ${JSON.stringify(loaded.text((loaded.base(section) ?? 0) + offset))}`;
  const isBehind = mayEnd ? offset > section.size : offset >= section.size;
  return isBehind && section.size > 0 ? `leads behind the end of ${section.name}` : undefined;
}

/** Addresses that data of the livepatch holds. */
function checkDataFields(simulation: Simulation, findings: Findings): void {
  const { loaded } = simulation;
  for (const [section, fields] of loaded.fields) {
    if (loaded.isCode(section) || (section.flags & SHF_ALLOC) === 0) continue;
    for (const [offset, { size, type, symbol }] of fields) {
      if (type !== R_X86_64_64) continue;
      const target = loaded.pointer((loaded.base(section) ?? 0) + offset) ?? 0;
      const reference = {
        kind: 'value',
        at: offset,
        field: { at: offset, size },
        target,
        isShifted: false,
        isPerCpu: false,
      } as const;
      const why = referenceFault(reference, loaded.addressOf(symbol), simulation);
      if (why !== undefined)
        findings.add(
          'reference-astray',
          `${section.name}+0x${offset.toString(16)}: the address of ${symbol.name || 'a section'}, ${hex(target)}, ${why}`,
        );
    }
  }
}
