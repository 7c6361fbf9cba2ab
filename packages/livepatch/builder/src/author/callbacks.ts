import type { Atom } from '../object/atom.ts';
import type { ObjectView } from '../object/view.ts';
import type { Reason, Unit } from '../types.ts';

/**
 * Where KMEND_CALLBACKS puts its structs (author/include/kmend/livepatch.h): input for the builder, no data of the
 * kernel.
 */
export const CALLBACKS_SECTION = '.kmend.callbacks';

/** In the order of `struct kmend_callbacks`, whose members are pointers. */
export const PHASES = ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'] as const;
export type Phase = (typeof PHASES)[number];

const POINTER = 8;
const NAME_PREFIX = 'kmend_callbacks_';

/** One KMEND_CALLBACKS of a patched file. */
export interface DeclaredCallbacks {
  /** As its author named it. */
  readonly name: string;
  readonly phases: readonly Phase[];
  /** The struct. */
  readonly atom: Atom;
}

/**
 * The callbacks that the patched object of a unit declares and the base (the kernel as shipped, or with the fixes below
 * a stacked livepatch) does not. What cannot be called once a livepatch is in place is a reason.
 */
export function declaredCallbacks(
  unit: Unit,
  base: ObjectView,
  patched: ObjectView,
): { readonly declared: readonly DeclaredCallbacks[]; readonly reasons: readonly Reason[] } {
  const declared: DeclaredCallbacks[] = [];
  const reasons: Reason[] = [];
  for (const atom of patched.atoms) {
    if (atom.section.name !== CALLBACKS_SECTION || atom.symbol === undefined) continue;
    if (base.byKey(atom.key) !== undefined) continue;
    const name = atom.symbol.name.replace(NAME_PREFIX, '');
    const phases: Phase[] = [];
    for (const relocation of patched.relocationsIn(atom)) {
      const phase = PHASES[(relocation.offset - atom.start) / POINTER];
      if (phase === undefined) continue;
      phases.push(phase);
      const target = patched.targetOf(atom.section, relocation).atom;
      if (target === undefined || target.section.name.startsWith('.text')) continue;
      const message = `the callback ${phase} of ${name} lies in ${target.section.name}, which is not there when it is called`;
      reasons.push({ code: 'callback-unusable', verdict: 'refused', message, source: unit.source, symbol: name });
    }
    declared.push({ name, phases, atom });
  }
  for (const { name, phases } of declared) {
    const message = `${name} runs code of its own (${phases.join(', ')}) once, outside the consistency model; that code is compared with nothing`;
    reasons.push({ code: 'callback-declared', verdict: 'needs-review', message, source: unit.source, symbol: name });
  }
  return { declared, reasons };
}
