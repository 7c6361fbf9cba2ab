import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { readElf, SHN_UNDEF, writeElf } from '@kmend/elf';
import { type DeclaredCallbacks, declaredCallbacks } from '../author/callbacks.ts';
import { shadowReasons } from '../author/shadow.ts';
import { type Change, compareUnit } from '../compare/compare.ts';
import { checkTypes } from '../compare/types.ts';
import { type CompiledUnit, type CompileInput, compileUnit, includedFiles, objectKey } from '../compile/compile.ts';
import { exportCrcs, exportReasons, hasExports } from '../compile/exports.ts';
import { runObjtool } from '../compile/objtool.ts';
import { BuilderError } from '../error.ts';
import { emit } from '../extract/emit.ts';
import { newGlobals, select, shortBranches } from '../extract/extract.ts';
import { type BuildFacts, imageOf, moduleSymbolsOf } from '../facts.ts';
import { nameReferences } from '../link/klp.ts';
import { settleLateReferences } from '../link/late.ts';
import { ALIAS_PREFIX } from '../link/link.ts';
import { hasStartingTwin, isReason, resolveNeed, twinMessage } from '../link/resolve.ts';
import { ObjectView } from '../object/view.ts';
import { mergeProofs, proveUnit } from '../proof/prove.ts';
import { proofReasons } from '../proof/show.ts';
import { type ChangedHeaders, headersKey } from '../source/header-tree.ts';
import { imageApart } from '../tree/apart.ts';
import type { PreparedTree, TreeEdges } from '../tree/prepare.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { Reason, Resolution, UnitProof } from '../types.ts';
import type { KeptOutcome, OutcomeCache, UnitOutcome } from './outcome.ts';
import { stackedChange } from './stacked.ts';

/** A unit at one point of a series of fixes. */
export interface UnitState {
  /** The text to compile. */
  readonly text: string;
  readonly headers: ChangedHeaders;
}

export interface UnitRequest {
  readonly unit: KnownUnit;
  readonly stock: string;
  /** What the livepatch changes: the kernel as shipped, or for a stacked one with the fixes below it. */
  readonly base: UnitState;
  readonly patched: UnitState;
  /** For a stacked livepatch: the states behind each fix below it that changes the unit. */
  readonly below: readonly { readonly fix: string; readonly state: UnitState }[];
  /** No fix changes the unit itself: a changed header may reach it, if this kernel has it at all. */
  readonly reached: boolean;
}

/** What units of one kernel are built with. */
export interface UnitContext {
  readonly edges: TreeEdges;
  readonly tree: PreparedTree;
  readonly cache: string;
  readonly outcomes: OutcomeCache;
  /** Hash of the building code. */
  readonly code: string;
  facts(): Promise<BuildFacts>;
  /** Folder with these headers changed. */
  headerRoot(headers: ChangedHeaders): Promise<string>;
}

/** Builds one unit, or takes it from the cache: compile, prove, compare, extract, objtool, resolve. */
export async function buildUnit(context: UnitContext, request: UnitRequest): Promise<KeptOutcome> {
  const builder = new UnitBuilder(context, request);
  const key = await builder.key();
  const known = await context.outcomes.find(key);
  if (known !== undefined) return known;
  const scratch = await mkdtemp(join(context.tree.directory, '.unit-'));
  try {
    const { outcome, object } = await builder.run(scratch);
    return await context.outcomes.keep(key, outcome, object);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What is known of a unit when its changed parts are to be extracted. */
interface Found {
  readonly outcome: UnitOutcome;
  readonly change: Change;
  readonly callbacks: readonly DeclaredCallbacks[];
  readonly after: ObjectView;
  readonly proof: UnitProof;
  readonly facts: BuildFacts;
  readonly scratch: string;
}

/** Compiles the patched state of a unit alone; the error for one that does not compile also tells what it includes. */
export async function compilePatched(
  context: UnitContext,
  request: UnitRequest,
): Promise<{ readonly object: string; readonly includes: ReadonlySet<string> }> {
  return await new UnitBuilder(context, request).compilePatched();
}

interface Built {
  readonly outcome: UnitOutcome;
  readonly object?: Uint8Array;
}

class UnitBuilder {
  readonly #context: UnitContext;
  readonly #request: UnitRequest;
  readonly #stock: CompileInput;

  constructor(context: UnitContext, request: UnitRequest) {
    this.#context = context;
    this.#request = request;
    this.#stock = { text: request.stock, root: context.tree.source, headersKey: '', layout: 'separate' };
  }

  /** Stands for everything that the outcome depends on. */
  async key(): Promise<string> {
    const { tree, code } = this.#context;
    const { unit, base, patched, below } = this.#request;
    const inputs = [this.#stock, await this.#input(base), await this.#input(patched)];
    for (const { state } of below) inputs.push(await this.#input(state));
    const fixes = below.map(({ fix }) => fix);
    return sha256([code, ...inputs.map((input) => objectKey(tree, unit, input)), ...fixes].join('\0'));
  }

  async run(scratch: string): Promise<Built> {
    const { unit, base, patched, reached } = this.#request;
    const apart = imageApart(unit.source, unit.command);
    if (apart !== undefined) return { outcome: { ...this.#nothing(), reasons: [apartReason(unit, apart, reached)] } };
    const compiling = [
      this.#compile(this.#stock),
      this.#input(base).then((input) => this.#compile(input)),
      this.#input(patched).then((input) => this.#compile(input)),
    ] as const;
    const [first] = await Promise.allSettled(compiling);
    if (first.status === 'rejected' && errorCode(first.reason) === 'patch-does-not-compile') {
      // Kbuild has rules for files that the configuration leaves out.
      if (reached) return { outcome: this.#nothing() };
      const message = `${unit.source} does not even compile unpatched: this kernel is not built from it`;
      throw new BuilderError('unit-not-built', message, { hint: 'leave the file out of the fix for this kernel' });
    }
    const [stockObject, baseObject, patchedObject] = await Promise.all(compiling);
    const facts = await this.#context.facts();
    const [stock, after] = await Promise.all([
      this.#view(stockObject.object, facts),
      this.#view(patchedObject.object, facts),
    ]);
    const isStacked = baseObject.object !== stockObject.object;
    const before = isStacked ? await this.#view(baseObject.object, facts) : stock;
    const change = isStacked ? stackedChange(unit, stock, before, after) : compareUnit(unit, stock, after);
    const callbacks = declaredCallbacks(unit, before, after);
    const functions = [...change.changed.values()].map((atom) => atom.symbol?.name ?? '');
    const provides = newGlobals(change);
    const isEmpty = functions.length + provides.length + callbacks.declared.length === 0;
    if (isEmpty && change.reasons.length === 0) return { outcome: this.#nothing() };
    const proof = await this.#prove(stockObject, facts, scratch);
    if (reached && proof.equal.length === 0) return { outcome: this.#nothing() };
    const added = [...change.added].flatMap(({ kind, symbol }) => (kind === 'function' ? (symbol?.name ?? []) : []));
    const callersRebuilt = patched.headers.size > 0;
    const types = checkTypes(unit.source, stock.file, after.file, { changed: functions, added, callersRebuilt });
    const reasons: Reason[] = [
      ...change.reasons,
      ...callbacks.reasons,
      ...(await proofReasons(this.#context.edges, unit, proof, functions)),
      ...types,
      // The types of exports are among those compared: where none differs, no CRC does.
      ...(types.length > 0 && hasExports(stock.file) ? await this.#exportReasons(facts, scratch) : []),
    ];
    const outcome: UnitOutcome = {
      ...this.#nothing(),
      reasons,
      functions: functions.map((name) => ({ name, sympos: 0, source: unit.source })),
      proof: {
        equal: proof.equal.length,
        different: proof.different.map((entry) => `${entry.function}: ${entry.reason}`),
      },
      dependsOn: await this.#dependsOn(functions, facts),
    };
    if (isEmpty || reasons.some(({ verdict }) => verdict === 'refused')) return { outcome };
    return await this.#extract({ outcome, change, callbacks: callbacks.declared, after, proof, facts, scratch });
  }

  async #extract(found: Found): Promise<Built> {
    const { outcome, change, callbacks, after, proof, facts, scratch } = found;
    const { edges, tree } = this.#context;
    const { unit } = this.#request;
    const reasons: Reason[] = [...outcome.reasons];
    const prefix = `${ALIAS_PREFIX}${sha256(unit.source).slice(0, 8)}_`;
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
    for (const warning of await runObjtool(edges.run, tree, args, objectPath, edges.signal)) {
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
    };
    const needs = new Map(extracted.needs.map((need) => [need.name, need]));
    const resolutions = new Map<string, Resolution>();
    const unsettled = new Map<string, Reason>();
    for (const name of wanted) {
      const settled = resolveNeed(needs.get(name) ?? { name }, resolveFacts);
      if (isReason(settled)) unsettled.set(name, settled);
      else resolutions.set(name, settled);
    }
    reasons.push(...settleLateReferences(unit.source, object, resolutions, facts.layouts));
    const left = new Set(object.symbols.filter(({ place }) => place === SHN_UNDEF).map(({ name }) => name));
    for (const name of wanted) if (!left.has(name)) resolutions.delete(name);
    // What the kernel does not know may be new in another unit of the fixes: settled when all are built.
    const unknown = [...unsettled].filter(([name, { code }]) => left.has(name) && code === 'symbol-unknown');
    for (const [name, reason] of unsettled)
      if (left.has(name) && reason.code !== 'symbol-unknown') reasons.push(reason);
    nameReferences(object, resolutions);
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

  async compilePatched(): Promise<{ readonly object: string; readonly includes: ReadonlySet<string> }> {
    const stock = await this.#compiles(this.#stock);
    const includes = stock ? await includedFiles(await this.#compile(this.#stock)) : new Set<string>();
    // What this kernel is not built from need not compile.
    if (!stock && this.#request.reached) return { object: '', includes };
    try {
      const { object } = await this.#compile(await this.#input(this.#request.patched));
      return { object, includes };
    } catch (error) {
      if (!(error instanceof BuilderError) || error.code !== 'patch-does-not-compile') throw error;
      const { message, hint, details } = error;
      throw new BuilderError('patch-does-not-compile', message, {
        ...(hint === undefined ? {} : { hint }),
        details: { ...details, includes },
      });
    }
  }

  async #exportReasons({ exports }: BuildFacts, scratch: string): Promise<Reason[]> {
    const { edges, tree } = this.#context;
    const { unit, patched } = this.#request;
    const crcs = async (input: CompileInput, name: string): Promise<ReadonlyMap<string, string>> => {
      const directory = join(scratch, name);
      await mkdir(directory);
      return await exportCrcs(edges, tree, unit, input, directory);
    };
    const patchedInput = await this.#input(patched);
    const [before, after] = await Promise.all([crcs(this.#stock, 'crcs-stock'), crcs(patchedInput, 'crcs-patched')]);
    return exportReasons(unit.source, exports, before, after);
  }

  #nothing(): UnitOutcome {
    const { source, object } = this.#request.unit;
    const empty = {
      reasons: [],
      functions: [],
      registered: [],
      callbacks: [],
      resolutions: [],
      provides: [],
      unknown: [],
      dependsOn: [],
    };
    return { source, object, ...empty, proof: { equal: 0, different: [] } };
  }

  async #compiles(input: CompileInput): Promise<boolean> {
    try {
      await this.#compile(input);
      return true;
    } catch (error) {
      if (errorCode(error) === 'patch-does-not-compile') return false;
      throw error;
    }
  }

  /** Which of the fixes below change a function that this livepatch changes again, and so holds too. */
  async #dependsOn(functions: readonly string[], facts: BuildFacts): Promise<string[]> {
    const found: string[] = [];
    let before = await this.#view((await this.#compile(this.#stock)).object, facts);
    for (const { fix, state } of this.#request.below) {
      const after = await this.#view((await this.#compile(await this.#input(state))).object, facts);
      const { changed, added } = compareUnit(this.#request.unit, before, after);
      const touched = [...changed.values(), ...added].map((atom) => atom.symbol?.name ?? '');
      if (touched.some((name) => functions.includes(name))) found.push(fix);
      before = after;
    }
    return found;
  }

  #compile(input: CompileInput): Promise<CompiledUnit> {
    const { edges, tree, cache } = this.#context;
    return compileUnit(edges, tree, this.#request.unit, input, cache);
  }

  async #input({ text, headers }: UnitState): Promise<CompileInput> {
    const relevant = await this.#relevant(text, headers);
    if (relevant.size === 0) return { ...this.#stock, text };
    const root = await this.#context.headerRoot(headers);
    return { text, root, headersKey: headersKey(relevant), layout: 'separate' };
  }

  /** Those of the changed headers that the unit includes; all where the change may make it include others than before. */
  async #relevant(text: string, headers: ChangedHeaders): Promise<ChangedHeaders> {
    if (headers.size === 0) return headers;
    if (includeLines(text) !== includeLines(this.#request.stock)) return headers;
    if (!(await this.#compiles(this.#stock))) return headers;
    const included = await includedFiles(await this.#compile(this.#stock));
    const relevant = new Map([...headers].filter(([path]) => included.has(path)));
    for (const [path, changed] of relevant) {
      const before = await readFile(join(this.#context.tree.source, path), 'latin1');
      if (includeLines(changed) !== includeLines(before)) return headers;
    }
    return relevant;
  }

  async #view(path: string, facts: BuildFacts): Promise<ObjectView> {
    return new ObjectView(readElf(await readFile(path)), facts.layouts);
  }

  /**
   * The original, after the kernel's objtool, against the shipped bytes: as the builder compiles it, and where that leaves a
   * difference also with the shipped flags alone.
   */
  async #prove(stock: CompiledUnit, facts: BuildFacts, scratch: string): Promise<UnitProof> {
    const { unit } = this.#request;
    const image = await imageOf(facts, unit);
    const proof = proveUnit(unit, await this.#provable(stock, join(scratch, 'proof.o'), facts), image);
    if (proof.different.length === 0) return proof;
    const shipped = await this.#compile({ ...this.#stock, layout: 'shipped' });
    const again = await this.#provable(shipped, join(scratch, 'proof-shipped.o'), facts);
    return mergeProofs(proof, proveUnit(unit, again, image));
  }

  async #provable(compiled: CompiledUnit, path: string, facts: BuildFacts): Promise<ObjectView> {
    const { edges, tree } = this.#context;
    await copyFile(compiled.object, path);
    await runObjtool(edges.run, tree, this.#request.unit.command.objtoolArguments, path, edges.signal);
    return await this.#view(path, facts);
  }
}

/** A unit that a changed header only reaches goes on as it is; that may do no harm. */
function apartReason({ source }: KnownUnit, image: string, reached: boolean): Reason {
  const message = `${source} is linked into ${image}: a livepatch changes the kernel and its modules only`;
  return reached
    ? {
        code: 'unit-outside-kernel',
        verdict: 'needs-review',
        message: `${message}; it goes on with the old header`,
        source,
      }
    : { code: 'unit-outside-kernel', verdict: 'refused', message, source };
}

function includeLines(text: string): string {
  return [...text.matchAll(/^\s*#\s*include\b.*$/gm)].map(([line]) => line.replaceAll(/\s+/g, '')).join('\n');
}
