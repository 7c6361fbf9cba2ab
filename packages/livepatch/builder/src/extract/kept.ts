import { SHF_EXECINSTR, SHF_WRITE } from '@kmend/elf';
import type { Change } from '../compare/compare.ts';
import { isPerCpu } from '../compare/rules.ts';
import { addressUse } from '../object/address-use.ts';
import type { Atom } from '../object/atom.ts';
import { instructionsIn } from '../object/code.ts';
import { coldParent } from '../object/names.ts';
import { isOwnCopy } from '../object/own-copy.ts';
import type { ObjectView, Reference } from '../object/view.ts';
import type { Reason } from '../types.ts';
import { destinationOf, type Selection } from './extract.ts';

/** Registers that hand over arguments, as instructions number them: rdi, rsi, rdx, rcx, r8, r9. */
const ARGUMENTS: ReadonlySet<number | undefined> = new Set([7, 6, 2, 1, 8, 9]);

/**
 * Functions that are done with an address that they are given when they return, or give it back when the module goes.
 * What walks over something calls back meanwhile: `nf_ct_expect_iterate_destroy()`, `bus_for_each_dev()`,
 * `acpi_walk_namespace()`.
 */
const RETURNING =
  /^(?:klp_shadow_\w+|sort|sort_r|list_sort|bsearch|stop_machine|static_key_(?:slow_\w+|enable|disable)\w*|mutex_(?:lock|unlock|trylock|is_locked)\w*|_raw_(?:spin|read|write)_(?:lock|unlock|trylock)\w*|mem(?:cpy|set|move|cmp)|v?s[cn]*printf)$|(?:^|_)(?:for_each|iterate|walk)(?:_|$)/;

/** An address of something of the livepatch's own that its code, or its data, gives away. */
interface Kept {
  readonly from: Atom;
  readonly to: string;
  readonly what: string;
  readonly where: string;
}

/**
 * What of the livepatch's own may be pointed to when its module is long gone: it is reverted, or another one replaces
 * it, and whatever live object was given the address has it still (`INIT_WORK(&x->work, fresh)`). Addresses of
 * functions that only the livepatch has, and of data of its own that can be written or leads to functions. Not of
 * functions that it replaces: those are the kernel's. `elsewhere`: names that other files of the livepatch define and
 * the kernel does not have.
 */
export function addressKeptReasons(
  source: string,
  view: ObjectView,
  change: Change,
  selection: Selection,
  elsewhere: ReadonlySet<string> = new Set(),
): Reason[] {
  const reasons = new Map<string, Reason>();
  for (const { from, to, what, where } of keptIn(view, change, selection, elsewhere)) {
    const name = from.symbol?.name ?? from.section.name;
    const message = `${name} takes the address of ${what} ${to} ${where}: an object that stores it still has it when the livepatch is reverted or replaced, and its module is unloaded; check that none stores it`;
    reasons.set(`${name} ${to}`, {
      code: 'address-kept',
      verdict: 'needs-review',
      message,
      source,
      symbol: from.symbol?.name ?? to,
    });
  }
  return [...reasons.values()];
}

function* keptIn(
  view: ObjectView,
  change: Change,
  selection: Selection,
  elsewhere: ReadonlySet<string>,
): Generator<Kept> {
  for (const from of selection.atoms) {
    const isCode = (from.section.flags & SHF_EXECINSTR) !== 0;
    // Records of dynamic debugging, once-flags, callbacks: their readers forget them with the module.
    if (!isCode && isOwnCopy(from) && !from.section.name.startsWith('.rodata')) continue;
    for (const reference of view.referencesIn(from)) {
      const what = keepable(view, change, from, reference, elsewhere);
      if (what === undefined) continue;
      const to = reference.target.atom?.symbol?.name ?? reference.target.symbol.name;
      const at = `at +0x${(reference.offset - from.start).toString(16)}`;
      if (!isCode) {
        if (!what.isPlain) yield { from, to, what: what.text, where: at };
        continue;
      }
      const use = addressUse(view, from, reference);
      if (use.kind === 'stored') yield { from, to, what: what.text, where: `${at} and stores it` };
      if (use.kind !== 'taken' || what.isPlain) continue;
      const callee = ARGUMENTS.has(use.register) ? nextCall(view, from, reference) : undefined;
      if (callee !== undefined && RETURNING.test(callee)) continue;
      yield { from, to, what: what.text, where: callee === undefined ? at : `${at}, before it calls ${callee}` };
    }
  }
}

interface Keepable {
  readonly text: string;
  /** Holds no functions and is never written: only where its address is stored matters. */
  readonly isPlain: boolean;
}

/** What a reference leads to, if that is the livepatch's own and of a kind that live objects are given. */
function keepable(
  view: ObjectView,
  change: Change,
  from: Atom,
  reference: Reference,
  elsewhere: ReadonlySet<string>,
): Keepable | undefined {
  const { target } = destinationOf(change, from, reference);
  const { atom } = target;
  if (atom === undefined) {
    // Without a name: an entry of a table of the unit's own.
    if (target.symbol.name === '' || !elsewhere.has(target.symbol.name)) return undefined;
    return { text: "another file's new", isPlain: false };
  }
  if (atom === from || atom.symbol === undefined || !change.added.has(atom) || isOwnCopy(atom)) return undefined;
  if (atom.kind === 'function') {
    // A place inside a function is of its own jump tables.
    if (target.offset !== 0 || coldParent(atom.symbol.name) !== undefined) return undefined;
    return { text: 'the new function', isPlain: false };
  }
  if (isPerCpu(atom.section)) return undefined;
  const isWritable = (atom.section.flags & SHF_WRITE) !== 0;
  const isPlain = !isWritable && !leadsToFunction(view, atom);
  return { text: isWritable ? 'the new variable' : "the livepatch's own constant", isPlain };
}

function leadsToFunction(view: ObjectView, atom: Atom): boolean {
  return view.referencesIn(atom).some(({ target }) => {
    if (target.atom !== undefined) return target.atom.kind === 'function' && target.offset === 0;
    // What the object does not define may be one.
    return true;
  });
}

/** The function that is called next, where the code goes there straight on. */
function nextCall(view: ObjectView, from: Atom, reference: Reference): string | undefined {
  const { section, end } = from;
  const start = view.instructionStart(section, reference.offset);
  for (const instruction of instructionsIn(section.data, start, end)) {
    const opcode = section.data[instruction.start + instruction.opcode] ?? 0;
    if (opcode === 0xc3) return undefined;
    if (instruction.relative?.branch !== true) continue;
    const field = instruction.start + instruction.relative.offset;
    const callee = view.referencesIn({ section, start: field, end: field + 1 })[0]?.target;
    return callee === undefined || (opcode !== 0xe8 && opcode !== 0xe9)
      ? undefined
      : (callee.atom?.symbol?.name ?? callee.symbol.name);
  }
  return undefined;
}
