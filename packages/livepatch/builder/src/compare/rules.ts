import { type Section, SHF_WRITE, STB_LOCAL } from '@kmend/elf';
import type { CodeOf, VerdictCode } from '@kmend/protocol';
import type { Atom } from '../object/atom.ts';
import { isStaticLocalName } from '../object/names.ts';
import { readVariable, runtimeConstant } from '../object/runtime-constant.ts';
import { isPieceSection } from '../object/tables.ts';
import type { Entry, ObjectView } from '../object/view.ts';
import type { Reason, Unit } from '../types.ts';

/** Collects the reasons against replacing parts of one unit. */
export class Reasons {
  readonly all: Reason[] = [];
  readonly #unit: Unit;

  constructor(unit: Unit) {
    this.#unit = unit;
  }

  refuse(code: CodeOf<'refused'>, message: string, symbol?: string): void {
    this.#add('refused', code, message, symbol);
  }

  review(code: CodeOf<'needs-review'>, message: string, symbol?: string): void {
    this.#add('needs-review', code, message, symbol);
  }

  #add(verdict: Reason['verdict'], code: VerdictCode, message: string, symbol: string | undefined): void {
    this.all.push({ code, verdict, message, source: this.#unit.source, ...(symbol === undefined ? {} : { symbol }) });
  }
}

export function nameOf(atom: Atom): string {
  return atom.symbol?.name ?? atom.key;
}

/** Code and data that the kernel has used and dropped, or that only unloading a module would use. */
export function isInit(section: Pick<Section, 'name'>): boolean {
  return /^\.(?:init|exit|initcall|con_initcall)/.test(section.name);
}

/** Tables that the kernel, or the loader of a module, has read once and acted on. */
export function isRegistered(section: Section): boolean {
  return /^(?:\.pci_fixup|__param|__tracepoints_ptrs|_ftrace_events|_ftrace_eval_map|_error_injection_whitelist|_kprobe_blacklist|__bpf_raw_tp_map)/.test(
    section.name,
  );
}

/**
 * Nameless parts of the section are compared through what refers to them, or are exports, which no running code needs.
 */
export function isReferred(section: Section): boolean {
  return (
    /^\.(?:text|data|bss|rodata|ref\.\w+)(?:\.|$)/.test(section.name) || isPieceSection(section) || isExport(section)
  );
}

/**
 * Code that stays, in sections that the tracer covers (scripts/recordmcount.c, is_mcounted_section_name); whether a
 * function is traced is another question.
 */
export function isReplaceableCode(section: Section): boolean {
  return /^\.(?:text|ref\.text|sched\.text|cpuidle\.text|(?:soft)?irqentry\.text)(?:\.|$)/.test(section.name);
}

/** Exports: a livepatch makes none and removes none; code that is linked to one keeps it. */
export function isExport(section: Section): boolean {
  return /^(?:__ksymtab|___ksymtab|__kcrctab|___kcrctab|__export_symbol|\.export_symbol)/.test(section.name);
}

export function isPerCpu(section: Section): boolean {
  return section.name.startsWith('.data..percpu');
}

/** A named variable or constant whose initial content changed. */
export function checkChangedData(atom: Atom, reasons: Reasons): void {
  const name = nameOf(atom);
  const { section } = atom;
  if (isInit(section)) initChanged(atom, reasons);
  else if (isExport(section)) reasons.refuse('export-changed', `the export ${name} changed`, name);
  else if (isRegistered(section))
    reasons.refuse(
      'section-changed',
      `${name} in ${section.name} changed; the running kernel has already used its own`,
      name,
    );
  else if (isPerCpu(section)) reasons.refuse('percpu-changed', `the per-cpu variable ${name} changed`, name);
  else if ((section.flags & SHF_WRITE) !== 0) {
    reasons.refuse(
      'data-changed',
      `the initial value of ${name} changed; the running kernel has its own, which a livepatch does not set`,
      name,
    );
  } else {
    reasons.refuse(
      'constant-changed',
      `the constant ${name} changed; the running kernel has its own, and other code or live objects may refer to it`,
      name,
    );
  }
}

/** What only starting up or ending runs: nothing to replace, but the rest of the fix may count on it. */
export function initChanged(atom: Atom, reasons: Reasons): void {
  const message =
    `${nameOf(atom)} (${atom.section.name}) runs only while the kernel or module starts or ends: its change has no effect on what runs already; ` +
    `check that the rest of the fix does not need it`;
  reasons.review('init-changed', message, nameOf(atom));
}

/** Something changed that the livepatch holds its own of, and not all that use it can be replaced. */
export function keepsOld(part: Atom, user: Atom, reasons: Reasons): void {
  const message = `${nameOf(part)} changed, and ${nameOf(user)} (${user.section.name}), which cannot be replaced, continues with the old one: check that this does no harm`;
  reasons.review('user-not-replaceable', message, nameOf(user));
}

/** Whether a changed function can be replaced in a running kernel. */
export function checkReplaceable(original: ObjectView, counterpart: Atom, reasons: Reasons): void {
  const name = nameOf(counterpart);
  const section = counterpart.section.name;
  if (!isReplaceableCode(counterpart.section)) {
    reasons.refuse('section-unpatchable', `${name} lies in ${section}, where code must not be traced`, name);
  } else if (!isTraced(original, counterpart)) {
    reasons.refuse(
      'not-traceable',
      `${name} has no call to the tracer at its beginning (notrace), so that it cannot be replaced`,
      name,
    );
  }
}

/**
 * The function begins with the call that ftrace, and through it livepatch, replaces (-mfentry); behind ENDBR64 on IBT
 * kernels.
 */
export function isTraced(view: ObjectView, atom: Atom): boolean {
  return view
    .relocationsIn(atom)
    .some(({ offset, symbol }) => symbol.name === '__fentry__' && offset - atom.start <= 5);
}

/**
 * The kernel writes some constants into its code at boot, and into no module's. New code can read a variable instead,
 * but no instruction of the same length shifts by one.
 */
export function checkRuntimeConstants(patched: ObjectView, atom: Atom, reasons: Reasons): void {
  for (const entry of patched.entriesOf(atom)) {
    const constant = runtimeConstant(entry.section);
    if (constant === undefined || isReadable(patched, atom, entry)) continue;
    const name = nameOf(atom);
    const message = `${name} uses ${constant.name}, which the kernel writes into its code at boot, in an instruction that cannot read it from memory`;
    reasons.refuse('runtime-constant', message, name);
  }
}

function isReadable(patched: ObjectView, atom: Atom, entry: Entry): boolean {
  const [operand] = patched.referencesIn(entry);
  if (operand?.target.atom !== atom || runtimeConstant(entry.section)?.kind !== 'pointer') return false;
  // A copy: `slice()` of a Buffer is none.
  const code = new Uint8Array(atom.section.data.subarray(atom.start, atom.end));
  return readVariable(code, operand.target.offset) !== undefined;
}

/** Whether a function or variable that only the patched object has can live in a livepatch. */
export function checkAddable(atom: Atom, reasons: Reasons): void {
  const name = nameOf(atom);
  const section = atom.section.name;
  // A new function that only starting up would call is never called; no running code uses a new export.
  if (isInit(atom.section) || isExport(atom.section)) return;
  if (atom.kind === 'function') {
    if (!isReplaceableCode(atom.section))
      reasons.refuse('section-unpatchable', `the new function ${name} lies in ${section}`, name);
  } else if (!/^\.(?:data|bss|rodata)(?:\.|$)/.test(section)) {
    reasons.refuse('section-added', `the new ${name} lies in ${section}, which only starting up would use`, name);
  } else if (isStaticLocal(atom) && (atom.section.flags & SHF_WRITE) !== 0) {
    reasons.review(
      'static-local-added',
      `${name} is a new static variable of a function: it starts again with every livepatch that holds it`,
      name,
    );
  }
}

/**
 * gcc numbers the static variables of functions and the literals of the file (`calls.3`), clang names the function
 * (`f.calls`).
 */
export function isNumbered({ symbol }: Atom): boolean {
  return symbol !== undefined && isStaticLocalName(symbol.name);
}

/** A static variable inside a function. */
export function isStaticLocal(atom: Atom): boolean {
  return atom.kind === 'data' && atom.symbol?.bind === STB_LOCAL && isNumbered(atom);
}

/**
 * State that changed functions no longer use: what it held is lost to them. Other removed things are just left alone.
 */
export function checkRemoved(
  original: ObjectView,
  kept: ReadonlySet<Atom>,
  noise: (atom: Atom) => boolean,
  reasons: Reasons,
): void {
  for (const atom of original.atoms) {
    if (atom.symbol === undefined || kept.has(atom) || noise(atom)) continue;
    const name = nameOf(atom);
    if (isRegistered(atom.section))
      reasons.refuse(
        'section-changed',
        `${name} in ${atom.section.name} goes; the running kernel has already used it`,
        name,
      );
    else if (isStaticLocal(atom) && (atom.section.flags & SHF_WRITE) !== 0 && !isInit(atom.section))
      reasons.refuse(
        'static-local-removed',
        `the fix drops the static variable ${name}, whose state the running kernel has`,
        name,
      );
  }
}
