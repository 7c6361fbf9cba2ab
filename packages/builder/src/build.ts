import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256, sha256File } from '@kmend/base/node';
import { readElf, SHN_UNDEF, writeElf } from '@kmend/elf';
import type { Kernel } from '@kmend/kernel';
import type { Livepatch, VerdictReason } from '@kmend/protocol';
import { compareUnit } from './compare/compare.ts';
import { reviewFix } from './compare/review.ts';
import { compareTypes } from './compare/types.ts';
import { compileUnit } from './compile/compile.ts';
import { runObjtool } from './compile/objtool.ts';
import { emit } from './extract/emit.ts';
import { select } from './extract/extract.ts';
import { type BuildFacts, imageOf, loadFacts, moduleSymbolsOf } from './facts.ts';
import type { Fix } from './fix/model.ts';
import { klpSymbolName, lateReferences, nameReferences } from './link/klp.ts';
import { ALIAS_PREFIX, linkModule } from './link/link.ts';
import type { RegisteredFunction } from './link/registration.ts';
import { hasStartingTwin, isReason, resolveNeed, twinMessage } from './link/resolve.ts';
import { BUILDER_VERSION, type BuiltUnit, makeManifest } from './manifest.ts';
import { instructionTails } from './object/tails.ts';
import { ObjectView } from './object/view.ts';
import { mergeProofs, proveUnit } from './proof/prove.ts';
import { applyFixes, type ChangedSource } from './source/apply.ts';
import { prepareTree, type TreeEdges } from './tree/prepare.ts';
import { readRecipe } from './tree/recipe.ts';
import { findUnit, type KnownUnit } from './tree/unit.ts';
import type { Reason, Resolution, UnitProof } from './types.ts';

export interface BuildRequest {
  readonly kernel: Kernel;
  readonly fixes: readonly Fix[];
  readonly kind: Livepatch['kind'];
  /** A person has read the reasons for review and accepts them. */
  readonly acceptReview: boolean;
}

export interface BuildResult {
  readonly manifest: Livepatch;
  /** The module; absent unless the verdict is `patchable`, or `needs-review` and accepted. */
  readonly module?: Uint8Array;
}

/** Builds one livepatch from fixes for a kernel. Throws `BuilderError` where there can be no verdict; refusals are in the manifest. */
export async function buildLivepatch(
  edges: TreeEdges,
  cacheDirectory: string,
  request: BuildRequest,
): Promise<BuildResult> {
  const tree = await prepareTree(edges, request.kernel, cacheDirectory);
  const scratch = await mkdtemp(join(tree.directory, '.build-'));
  try {
    return await new Build(edges, cacheDirectory, request, tree, scratch).run();
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

interface UnitOutcome extends BuiltUnit {
  readonly objectPath?: string;
  readonly registered: readonly RegisteredFunction[];
  readonly resolutions: ReadonlyMap<string, Resolution>;
}

class Build {
  readonly #edges: TreeEdges;
  readonly #cache: string;
  readonly #request: BuildRequest;
  readonly #tree: Awaited<ReturnType<typeof prepareTree>>;
  readonly #scratch: string;

  constructor(
    edges: TreeEdges,
    cache: string,
    request: BuildRequest,
    tree: Awaited<ReturnType<typeof prepareTree>>,
    scratch: string,
  ) {
    this.#edges = edges;
    this.#cache = cache;
    this.#request = request;
    this.#tree = tree;
    this.#scratch = scratch;
  }

  async run(): Promise<BuildResult> {
    const { kernel, fixes, kind, acceptReview } = this.#request;
    const { signal, progress } = this.#edges;
    const sources = await applyFixes(this.#edges, this.#tree.source, fixes, this.#scratch);
    const facts = loadFacts(kernel);
    const recipe = await readRecipe(this.#tree);
    const outcomes: UnitOutcome[] = [];
    for (const [index, source] of sources.entries()) {
      progress.step(`build ${source.path} for ${kernel.release}`);
      outcomes.push(await this.#unit(source, index, facts));
      progress.advance(index + 1, sources.length, 'items');
      signal.throwIfAborted();
    }
    const reasons: VerdictReason[] = [...outcomes.flatMap((outcome) => outcome.reasons), ...fixes.flatMap(reviewFix)];
    if (outcomes.every(({ functions }) => functions.length === 0) && reasons.length === 0) {
      reasons.push({
        code: 'no-function-changed',
        verdict: 'refused',
        message: 'the fixes change no code of this kernel: nothing to patch',
      });
    }
    const inputs = {
      fixes: Object.fromEntries(fixes.map((fix) => [fix.id, fix.sha256])),
      config: await sha256File(kernel.paths.config),
      moduleSymvers: await sha256File(kernel.paths.moduleSymvers),
      vmlinux: (await facts).vmlinuxSha256,
      source: (await facts).sourceSha256,
    };
    const id = sha256(
      JSON.stringify({
        inputs,
        kind,
        order: fixes.map((fix) => fix.id),
        compiler: kernel.compiler.text,
        BUILDER_VERSION,
      }),
    ).slice(0, 12);
    const draft = makeManifest({ id, kernel, fixes, kind, reasons, acceptReview, units: outcomes, inputs });
    if (draft.verdict === 'refused' || (draft.verdict === 'needs-review' && !acceptReview)) return { manifest: draft };
    progress.step(`link ${draft.module}`);
    const objects = new Map<string, RegisteredFunction[]>();
    const expected = new Set<string>();
    const namespaces = new Set<string>();
    for (const { unit, registered, resolutions } of outcomes) {
      if (registered.length > 0) objects.set(unit.object, [...(objects.get(unit.object) ?? []), ...registered]);
      for (const resolution of resolutions.values()) {
        expected.add(resolution.kind === 'klp' ? klpSymbolName(resolution) : resolution.exportedName);
        if (resolution.kind === 'export' && resolution.namespace !== '') namespaces.add(resolution.namespace);
      }
    }
    // The registration itself uses this one, an export of vmlinux.
    expected.add('klp_enable_patch').add('__fentry__').add('__x86_return_thunk');
    const registration = {
      description: `kmend ${kind} livepatch ${id} for ${kernel.release}`,
      replace: kind === 'cumulative',
      objects,
      namespaces: [...namespaces].sort(),
    };
    const paths = outcomes.flatMap(({ objectPath }) => (objectPath === undefined ? [] : [objectPath]));
    const module = await linkModule(
      this.#edges,
      this.#tree,
      recipe,
      draft.module,
      paths,
      registration,
      expected,
      this.#scratch,
    );
    const file = { name: `${draft.module}.ko`, sha256: sha256(module), size: module.length };
    return { manifest: { ...draft, file }, module };
  }

  async #unit(source: ChangedSource, index: number, factsPromise: Promise<BuildFacts>): Promise<UnitOutcome> {
    const unit = await findUnit(this.#edges, this.#tree, source.path);
    const [original, patched] = await Promise.all([
      compileUnit(this.#edges, this.#tree, unit, source.original, this.#cache),
      compileUnit(this.#edges, this.#tree, unit, source.patched, this.#cache),
    ]);
    const { run, signal } = this.#edges;
    const facts = await factsPromise;
    const types = compareTypes(run, source.path, original, patched, signal);
    const proof = await this.#prove(unit, original, source.original, index, facts);
    const view = async (path: string): Promise<ObjectView> => {
      const file = readElf(await readFile(path));
      return new ObjectView(file, facts.layouts, await instructionTails(run, path, file, signal));
    };
    const patchedView = await view(patched);
    const change = compareUnit(unit, await view(original), patchedView);
    const functions = [...change.changed.values()].map((atom) => atom.symbol?.name ?? '');
    const reasons: Reason[] = [...change.reasons, ...proofReasons(unit, proof, functions), ...(await types)];
    const outcome = {
      unit,
      proof,
      functions: [] as BuiltUnit['functions'],
      registered: [],
      resolutions: new Map<string, Resolution>(),
    };
    if (functions.length === 0 || reasons.some(({ verdict }) => verdict === 'refused')) {
      return { ...outcome, reasons, functions: functions.map((name) => ({ name, sympos: 0, source: source.path })) };
    }
    const prefix = `${ALIAS_PREFIX}${index}_`;
    const extracted = emit(patchedView, change, select(patchedView, change), prefix);
    const objectPath = join(this.#scratch, `unit-${index}.o`);
    await writeFile(objectPath, writeElf(extracted.file));
    // As objects of a module, whatever the unit was: the flag decides how static calls and return sites are recorded.
    const base = unit.command.objtoolArguments;
    const args = base.includes('--module') ? base : [...base, '--module'];
    for (const warning of await runObjtool(run, this.#tree, args, objectPath, signal)) {
      const message = `objtool: ${warning.replace(/^.*warning: objtool: /, '')}`;
      reasons.push({ code: 'objtool-warning', verdict: 'needs-review', message, source: source.path });
    }
    const object = readElf(await readFile(objectPath));
    const needs = new Map(extracted.needs.map((need) => [need.name, need]));
    const resolutions = new Map<string, Resolution>();
    const resolveFacts = {
      unit,
      proof,
      exports: facts.exports,
      vmlinux: facts.byName,
      module: moduleSymbolsOf(facts),
      image: await imageOf(facts, unit),
    };
    await facts.loadModules(
      object.symbols.filter(({ place }) => place === SHN_UNDEF).map(({ name }) => name),
      unit,
    );
    for (const symbol of object.symbols) {
      if (symbol.place !== SHN_UNDEF) continue;
      const settled = resolveNeed(needs.get(symbol.name) ?? { name: symbol.name }, resolveFacts);
      if (isReason(settled)) reasons.push(settled);
      else resolutions.set(symbol.name, settled);
    }
    reasons.push(...lateReferences(source.path, object, resolutions));
    nameReferences(object, resolutions);
    await writeFile(objectPath, writeElf(object));
    const registered = extracted.replacements.map(({ originalName, alias }) => {
      const address = proof.addresses.get(originalName);
      return { oldName: address?.name ?? originalName, sympos: address?.sympos ?? 0, alias };
    });
    for (const { oldName } of registered) {
      if (!hasStartingTwin(resolveFacts, unit.object, oldName)) continue;
      const message = twinMessage(unit.object, oldName);
      reasons.push({ code: 'symbol-unproven', verdict: 'refused', message, source: source.path, symbol: oldName });
    }
    const named = registered.map(({ oldName, sympos }) => ({ name: oldName, sympos, source: source.path }));
    return { ...outcome, reasons, functions: named, registered, resolutions, objectPath };
  }

  /**
   * The original, after the kernel's objtool, against the shipped bytes: as the builder compiles it, and where that leaves a
   * difference also with the shipped flags alone.
   */
  async #prove(unit: KnownUnit, original: string, text: string, index: number, facts: BuildFacts): Promise<UnitProof> {
    const image = await imageOf(facts, unit);
    const proof = proveUnit(unit, await this.#provable(unit, original, `${index}`, facts), image);
    if (proof.different.length === 0) return proof;
    const shipped = await compileUnit(this.#edges, this.#tree, unit, text, this.#cache, 'shipped');
    return mergeProofs(proof, proveUnit(unit, await this.#provable(unit, shipped, `${index}-shipped`, facts), image));
  }

  async #provable(unit: KnownUnit, object: string, name: string, facts: BuildFacts): Promise<ObjectView> {
    const { run, signal } = this.#edges;
    const path = join(this.#scratch, `proof-${name}.o`);
    await copyFile(object, path);
    await runObjtool(run, this.#tree, unit.command.objtoolArguments, path, signal);
    const file = readElf(await readFile(path));
    return new ObjectView(file, facts.layouts, await instructionTails(run, path, file, signal));
  }
}

function proofReasons(unit: KnownUnit, proof: UnitProof, functions: readonly string[]): Reason[] {
  if (proof.equal.length === 0) {
    const message = `${unit.object} has none of the functions of ${unit.source}: this kernel is not built from it`;
    return [{ code: 'unit-not-in-kernel', verdict: 'refused', message, source: unit.source }];
  }
  return functions
    .map((name) => ({ name, difference: proof.different.find((entry) => entry.function === name) }))
    .filter(({ name, difference }) => difference !== undefined || !proof.equal.includes(name))
    .map(({ name, difference }) => ({
      code: difference?.reason === 'bytes-differ' ? 'bytes-differ' : 'function-not-found',
      verdict: 'refused' as const,
      message: `${name} is not what ${unit.object} was shipped with: ${difference === undefined ? 'not compared' : JSON.stringify(difference)}`,
      source: unit.source,
      symbol: name,
    }));
}
