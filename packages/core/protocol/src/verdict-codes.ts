/**
 * Every code of a reason why a verdict is not `patchable`, with the verdicts that it may lead to. docs/builder.md says
 * of each what it means and what can be done; a test holds that page to this table.
 */
export const verdictCodes = {
  'no-function-changed': ['refused'],
  'fixed-kernel-differs': ['needs-review'],
  'hunk-in-other-function': ['needs-review'],
  'header-in-part': ['refused', 'needs-review'],
  'fixed-kernel-module-differs': ['refused'],
  'rebuild-differs': ['refused'],
  'function-not-found': ['refused'],
  'weak-overridden': ['refused', 'needs-review'],
  'unit-not-in-kernel': ['refused'],
  'type-layout-changed': ['refused'],
  'type-layout-review': ['needs-review'],
  'type-added': ['needs-review'],
  'enum-value-changed': ['refused', 'needs-review'],
  'constant-value-changed': ['needs-review'],
  'prototype-changed': ['refused', 'needs-review'],
  'data-retyped': ['refused', 'needs-review'],
  'types-unchecked': ['needs-review'],
  'data-changed': ['refused'],
  'constant-changed': ['refused'],
  'percpu-changed': ['refused'],
  'init-changed': ['needs-review'],
  'section-changed': ['refused'],
  'section-added': ['refused'],
  'export-changed': ['refused'],
  'section-unpatchable': ['refused'],
  'not-traceable': ['refused'],
  'user-not-replaceable': ['needs-review'],
  'short-branch': ['refused'],
  'endbr-sealed': ['refused'],
  'runtime-constant': ['refused'],
  'static-local-added': ['needs-review'],
  'static-local-removed': ['refused'],
  'address-kept': ['needs-review'],
  'stacked-state': ['refused'],
  'cold-without-parent': ['refused'],
  'table-unclear': ['refused'],
  'static-local-ambiguous': ['refused'],
  'function-ambiguous': ['refused'],
  'init-referenced': ['refused'],
  'unit-outside-kernel': ['refused', 'needs-review'],
  'export-abi-changed': ['refused'],
  'audit-failed': ['refused'],
  'symbol-unproven': ['refused'],
  'symbol-unknown': ['refused'],
  'symbol-late': ['refused'],
  'jump-label-module-key': ['refused'],
  'late-relocation': ['refused'],
  'memory-protocol': ['needs-review'],
  'lock-protocol': ['needs-review'],
  'rcu-protocol': ['needs-review'],
  'reference-protocol': ['needs-review'],
  'asm-added': ['needs-review'],
  'attribute-added': ['needs-review'],
  'include-asked': ['needs-review'],
  'assembler-include': ['refused'],
  'macro-changed': ['needs-review'],
  'callback-declared': ['needs-review'],
  'callback-unusable': ['refused'],
  'shadow-kept': ['needs-review'],
  'objtool-warning': ['needs-review'],
} as const satisfies Readonly<Record<string, readonly ('refused' | 'needs-review')[]>>;
export type VerdictCode = keyof typeof verdictCodes;

/** The codes that may lead to a verdict. */
export type CodeOf<V extends 'refused' | 'needs-review'> = {
  [C in VerdictCode]: V extends (typeof verdictCodes)[C][number] ? C : never;
}[VerdictCode];

export const VERDICT_CODES = Object.keys(verdictCodes) as VerdictCode[];
