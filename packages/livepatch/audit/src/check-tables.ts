import { SHF_STRINGS } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import type { Address } from './address.ts';
import { checkUnwind } from './check-unwind.ts';
import type { Findings } from './finding.ts';
import type { OwnCode } from './own-code.ts';
import type { Simulation } from './simulation.ts';
import { ABSOLUTE, type Aim, TABLES } from './table-shapes.ts';
import type { World } from './world.ts';

/** Entries of the tables that the loader acts on: each field leads to what an entry of that kind is about. */
export function checkTables(simulation: Simulation, findings: Findings): void {
  const { world, loaded, own } = simulation;
  for (const section of loaded.file.sections) {
    const shape = TABLES[section.name];
    const base = loaded.base(section);
    if (shape === undefined || base === undefined || section.size === 0) continue;
    const layout = shape.struct === undefined ? undefined : world.layouts.get(shape.struct);
    const size = shape.size ?? layout?.size;
    if (size === undefined || section.size % size !== 0) {
      findings.add('table-astray', `${section.name} of ${section.size} bytes does not consist of whole entries`);
      continue;
    }
    const memory = loaded.memory(section);
    const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    for (let entry = 0; entry + size <= section.size; entry += size) {
      const code: Address[] = [];
      for (const field of shape.fields) {
        const offset = field.offset ?? layout?.members.get(field.member ?? '');
        if (offset === undefined) continue;
        const at = entry + offset;
        const isFilled = loaded.fields.get(section)?.has(at) ?? false;
        const isAbsolute = ABSOLUTE.has(section.name);
        const value = field.wide ? Number(view.getBigInt64(at, true)) : view.getInt32(at, true);
        const target = isAbsolute ? value : base + at + value;
        if (field.aim === 'code' || field.aim === 'call') code.push(target);
        const why = isFilled ? fault(field.aim, target, base + entry, simulation) : 'is not filled in by a relocation';
        // A replacement of no bytes is nowhere.
        const isEmpty =
          field.aim === 'replacement' &&
          layout !== undefined &&
          memory[entry + (layout.members.get('replacementlen') ?? -1)] === 0;
        if (why === undefined || isEmpty) continue;
        findings.add('table-astray', `${section.name}, entry ${entry / size}: ${field.member ?? 'its place'} ${why}`);
      }
      const wrong = markFault({ table: section.name, view, entry, layout, code: code[0] }, simulation);
      if (wrong !== undefined) findings.add('table-astray', `${section.name}, entry ${entry / size}: ${wrong}`);
      if (section.name === '.static_call_sites' && code[0] !== undefined) {
        const offset = entry + (layout?.members.get('key') ?? 0);
        const key = base + offset + view.getInt32(offset, true);
        if (!isKeyOf(code[0], key - (((key % 4) + 4) % 4), own, world))
          findings.add('table-astray', `${section.name}, entry ${entry / size}: the key is not that of what is called`);
      }
      const [first, second] = code;
      if (section.name === '__jump_table' && first !== undefined && second !== undefined) {
        if (own.functionAt(first)?.function.section !== own.functionAt(second)?.function.section) {
          findings.add('table-astray', `${section.name}, entry ${entry / size}: the branch leaves its section`);
        }
      }
    }
  }
  checkTaken(simulation, findings);
  const tables = { format: world.unwindFormat, alternative: world.layouts.get('alt_instr') };
  checkUnwind(loaded, own, tables, findings);
}

interface MarkedEntry {
  /** The name of its section. */
  readonly table: string;
  readonly view: DataView;
  /** Offset in the table, bytes. */
  readonly entry: number;
  readonly layout: StructLayout | undefined;
  /** The instruction that the entry is about. */
  readonly code: Address | undefined;
}

/**
 * The second bit of a key: of static calls the kernel's own (STATIC_CALL_SITE_INIT); of jump labels objtool's, which it
 * sets together with making the jump a no-operation (CONFIG_HAVE_JUMP_LABEL_HACK, arch/x86/include/asm/jump_label.h).
 */
function markFault(
  { table, view, entry, layout, code }: MarkedEntry,
  { world, own }: Pick<Simulation, 'world' | 'own'>,
): string | undefined {
  const offset = layout?.members.get('key');
  if (offset === undefined) return undefined;
  // What the mark is added to is a multiple of four, and so is where its field lies, by the kernel's alignment of both
  // tables.
  const key =
    table === '__jump_table' ? Number(view.getBigInt64(entry + offset, true)) : view.getInt32(entry + offset, true);
  const isMarked = ((key + entry + offset) & 2) !== 0;
  if (table === '.static_call_sites' && isMarked) return 'has a mark that only the kernel makes';
  const found = code === undefined ? undefined : own.functionAt(code);
  if (found === undefined) return undefined;
  const byte = found.function.code[found.offset];
  if (table === '.static_call_sites') {
    // STATIC_CALL_SITE_TAIL: the kernel writes a jump there instead of a call.
    const isTail = ((key + entry + offset) & 1) !== 0;
    return isTail === (byte !== 0xe8) ? undefined : 'has the mark of a jump where a call is, or none where a jump is';
  }
  const isJump = byte === 0xe9 || byte === 0xeb;
  return isMarked === (world.marksJumps && !isJump) ? undefined : 'has a mark that does not fit the instruction';
}

/** A static call goes to `__SCT__x`; its key is `__SCK__x`, or the trampoline itself in its place. */
function isKeyOf(site: Address, key: Address, own: OwnCode, world: World): boolean {
  const found = own.functionAt(site);
  const called = found?.function.references.find(({ at }) => at === found.offset)?.target;
  const trampoline = called === undefined ? undefined : world.locate(called);
  const names = world.locate(key)?.names ?? [];
  const wanted = (trampoline?.names ?? []).filter((name) => name.startsWith('__SCT__')).map((name) => name.slice(7));
  return (
    wanted.length === 0 || wanted.some((name) => names.includes(`__SCK__${name}`) || names.includes(`__SCT__${name}`))
  );
}

/** `entry`: where the entry lies. */
function fault(aim: Aim, target: Address, entry: Address, { world, loaded, own }: Simulation): string | undefined {
  if (aim === 'text') {
    const text = loaded.at(target);
    if (text === undefined) return world.locate(target) === undefined ? 'leads nowhere' : undefined;
    const isInside = text.offset > 0 && loaded.memory(text.section)[text.offset - 1] !== 0;
    return isInside && (text.section.flags & SHF_STRINGS) !== 0 ? 'leads into the middle of a text' : undefined;
  }
  if (aim === 'replacement')
    return loaded.at(target)?.section.name === '.altinstr_replacement' ? undefined : 'leads to no replacement';
  if (aim === 'key') {
    const key = target - (((target % 4) + 4) % 4);
    const place = loaded.at(key);
    if (place !== undefined) return loaded.isCode(place.section) ? 'is a key in code' : undefined;
    const located = world.locate(key);
    // A trampoline replaces a key that is not exported (kernel/static_call_inline.c,
    // static_call_add_module).
    const isTrampoline = located?.names.some((name) => name.startsWith('__SCT__')) === true && located.start === key;
    // In vmlinux keys that are only written at boot lie in .rodata.
    const isConstant = located?.object !== 'vmlinux' && located?.isWritable === false && !isTrampoline;
    return located === undefined || isConstant || (located.isCode && !isTrampoline) ? 'leads to no key' : undefined;
  }
  const place = loaded.at(target);
  if (place === undefined || !loaded.isCode(place.section)) return 'leads to no code of the livepatch';
  const found = own.functionAt(target);
  // Init and exit code, and replacements, may lie in no function.
  if (found === undefined) return aim === 'code' || aim === 'call' ? undefined : 'leads to no function';
  if (!found.function.boundaries.has(found.offset))
    return `leads into the middle of an instruction of ${found.function.name}`;
  const bytes = found.function.code.subarray(found.offset, found.offset + 2);
  const where = `${found.function.name}+0x${found.offset.toString(16)}`;
  switch (aim) {
    case 'bug':
      return isTrap(bytes) || takes(entry, target, own) ? undefined : `leads to ${where}, which is no trap`;
    case 'lock':
      return bytes[0] === 0xf0 || bytes[0] === 0x3e ? undefined : `leads to ${where}, which is no lock prefix`;
    case 'call':
      return bytes[0] === 0xe8 || bytes[0] === 0xe9 || bytes[0] === 0xc3 || isConditional(bytes)
        ? undefined
        : `leads to ${where}, which is no call or jump`;
    case 'traced':
      return bytes[0] === 0xe8 ? undefined : `leads to ${where}, which is no call of the tracer`;
    default:
      return undefined;
  }
}

/** UD2 and UD1. */
function isTrap(bytes: Uint8Array): boolean {
  return bytes[0] === 0x0f && (bytes[1] === 0x0b || bytes[1] === 0xb9);
}

/**
 * Whether the instruction in front of a place takes the address of an entry: WARN() since 7.0 hands it to
 * `__WARN_trap`, and the entry is about the place behind (arch/x86/include/asm/bug.h, __WARN_bug_entry).
 */
function takes(entry: Address, place: Address, own: OwnCode): boolean {
  const found = own.functionAt(place);
  const before = found?.function.instructions.findLast(({ at }) => at < found.offset);
  return (
    before !== undefined &&
    found?.function.references.some(
      ({ at, kind, target }) => at === before.at && kind === 'address' && target === entry,
    ) === true
  );
}

/** New code takes the address of no entry but one that is about the place behind. */
function checkTaken({ loaded, own }: Simulation, findings: Findings): void {
  for (const { name, instructions, references, address } of own.functions) {
    for (const { at, target } of references) {
      const place = loaded.at(target);
      if (place?.section.name !== '__bug_table') continue;
      const next = instructions.find((one) => one.at > at)?.at;
      const memory = loaded.memory(place.section);
      const isWhole = place.offset + 4 <= memory.length;
      const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
      if (isWhole && next !== undefined && target + view.getInt32(place.offset, true) === address + next) continue;
      const message = `${name}+0x${at.toString(16)} takes the address of an entry of __bug_table that is about another instruction`;
      findings.add('reference-astray', message, { symbol: name });
    }
  }
}

/** Conditional jumps to thunks: `jne __x86_indirect_thunk_rax`, also behind a segment prefix that pads them. */
function isConditional(bytes: Uint8Array): boolean {
  const first = bytes[0] === 0x2e ? bytes[1] : bytes[0];
  return first === 0x0f || first === 0xe8 || first === 0xe9;
}
