import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import { readElf, SHN_UNDEF, writeElf } from '@kmend/elf';
import type { DeclaredCallbacks } from '../author/callbacks.ts';
import { shadowReasons } from '../author/shadow.ts';
import type { Change } from '../compare/compare.ts';
import { runObjtoolOnPart } from '../compile/objtool.ts';
import { withCopies } from '../extract/copies.ts';
import { emit } from '../extract/emit.ts';
import { select, shortBranches } from '../extract/extract.ts';
import { addressKeptReasons } from '../extract/kept.ts';
import { sealedReasons } from '../link/branch-tracking.ts';
import { nameReferences } from '../link/klp.ts';
import { resolveLateReferences } from '../link/late.ts';
import { ALIAS_PREFIX } from '../link/link.ts';
import { hasStartingTwin, isReason, resolveNeed, twinMessage } from '../link/resolve.ts';
import type { ObjectView } from '../object/view.ts';
import { type BuildFacts, imageOf, moduleSymbolsOf } from '../shipped-kernel.ts';
import type { Reason, Resolution, UnitProof } from '../types.ts';
import type { UnitCompiler } from './compiler.ts';
import type { UnitOutcome } from './outcome.ts';
import type { UnitContext, UnitRequest } from './request.ts';

/** What is known of a unit when its changed parts are to be extracted. */
export interface Found {
  readonly outcome: UnitOutcome;
  readonly change: Change;
  readonly callbacks: readonly DeclaredCallbacks[];
  readonly after: ObjectView;
  readonly proof: UnitProof;
  readonly facts: BuildFacts;
  readonly scratch: string;
}

/** An outcome, with the extracted object where there is anything to link. */
export interface Built {
  readonly outcome: UnitOutcome;
  readonly object?: Uint8Array;
}

/** Takes the changed parts of a unit out, runs objtool on them, and settles how all that they refer to is found. */
export async function extractUnit(
  context: UnitContext,
  request: UnitRequest,
  compiler: UnitCompiler,
  found: Found,
): Promise<Built> {
  const { outcome, callbacks, after, proof, facts, scratch } = found;
  const change = withCopies(after, found.change, proof);
  const { edges, tree } = context;
  const { unit } = request;
  const reasons: Reason[] = [...outcome.reasons];
  const prefix = `${ALIAS_PREFIX}${sha256(`${unit.object}:${unit.source}`).slice(0, 8)}_`;
  const selection = select(
    after,
    change,
    callbacks.map(({ atom }) => atom),
  );
  const short = shortBranches(after, selection);
  if (short.length > 0) {
    for (const { from, to } of short) {
      const message = `${from.symbol?.name} jumps to ${to.symbol?.name} beside it in ${from.section.name}, too short to lead into the running kernel`;
      reasons.push({ code: 'short-branch', verdict: 'refused', message, source: unit.source });
    }
    return { outcome: { ...outcome, reasons } };
  }
  const extracted = emit(after, change, selection, prefix, callbacks);
  const objectPath = join(scratch, 'extracted.o');
  await writeFile(objectPath, writeElf(extracted.file));
  // As objects of a module, whatever the unit was: the flag decides how static calls and return sites are recorded.
  const flags = unit.command.objtoolArguments;
  const args = flags.includes('--module') ? flags : [...flags, '--module'];
  const whole = async (): Promise<string> => {
    const path = join(scratch, 'whole.o');
    await copyFile((await compiler.compile(await compiler.input(request.patched))).object, path);
    return path;
  };
  for (const warning of await runObjtoolOnPart(edges.run, tree, args, objectPath, whole, edges.signal)) {
    const message = `objtool: ${warning.replace(/^.*warning: objtool: /, '')}`;
    reasons.push({ code: 'objtool-warning', verdict: 'needs-review', message, source: unit.source });
  }
  const object = readElf(await readFile(objectPath));
  const wanted = object.symbols.filter(({ place }) => place === SHN_UNDEF).map(({ name }) => name);
  reasons.push(...shadowReasons(unit.source, wanted));
  await facts.loadModules(wanted, unit);
  const resolveFacts = {
    unit,
    proof,
    exports: facts.exports,
    vmlinux: facts.symbols,
    module: moduleSymbolsOf(facts),
    image: await imageOf(facts, unit),
    requires: await facts.requires(unit.object),
  };
  const needs = new Map(extracted.needs.map((need) => [need.name, need]));
  const resolutions = new Map<string, Resolution>();
  const unsettled = new Map<string, Reason>();
  for (const name of wanted) {
    const settled = resolveNeed(needs.get(name) ?? { name }, resolveFacts);
    if (isReason(settled)) unsettled.set(name, settled);
    else resolutions.set(name, settled);
  }
  reasons.push(...resolveLateReferences(unit.source, object, resolutions, facts.layouts));
  const left = new Set(object.symbols.filter(({ place }) => place === SHN_UNDEF).map(({ name }) => name));
  for (const name of wanted) if (!left.has(name)) resolutions.delete(name);
  reasons.push(...(await sealedReasons(unit.source, object, resolutions, (name) => facts.tracked(name))));
  // What the kernel does not know may be new in another unit of the fixes: settled when all are built.
  const unknown = [...unsettled].filter(([name, { code }]) => left.has(name) && code === 'symbol-unknown');
  for (const [name, reason] of unsettled) if (left.has(name) && reason.code !== 'symbol-unknown') reasons.push(reason);
  const elsewhere = new Set(unknown.map(([name]) => name));
  reasons.push(...addressKeptReasons(unit.source, after, change, selection, elsewhere));
  nameReferences(object, unit.object, resolutions);
  const registered = extracted.replacements.map(({ originalName, alias }) => {
    const address = proof.addresses.get(originalName);
    return { oldName: address?.name ?? originalName, sympos: address?.sympos ?? 0, alias };
  });
  for (const { oldName } of registered) {
    if (!hasStartingTwin(resolveFacts, unit.object, oldName)) continue;
    const message = twinMessage(unit.object, oldName);
    reasons.push({ code: 'symbol-unproven', verdict: 'refused', message, source: unit.source, symbol: oldName });
  }
  return {
    outcome: {
      ...outcome,
      reasons,
      functions: registered.map(({ oldName, sympos }) => ({ name: oldName, sympos, source: unit.source })),
      registered,
      callbacks: extracted.callbacks.map(({ name, phases, alias }) => ({ name, phases: [...phases], alias })),
      resolutions: [...resolutions.values()],
      provides: extracted.provides,
      unknown: unknown.map(([name]) => name),
    },
    object: writeElf(object),
  };
}
