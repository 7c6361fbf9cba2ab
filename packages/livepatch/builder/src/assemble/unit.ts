import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import { declaredCallbacks } from '../author/callbacks.ts';
import { proofReasons } from '../byte-proof/show.ts';
import { compareUnit } from '../compare/compare.ts';
import { checkTypes } from '../compare/types.ts';
import { objectKey } from '../compile/compile.ts';
import { hasExports } from '../compile/exports.ts';
import { contentDigest } from '../compile/hashes.ts';
import { BuilderError } from '../error.ts';
import { newGlobals } from '../extract/extract.ts';
import type { BuildFacts } from '../shipped-kernel.ts';
import { imageApart } from '../tree/apart.ts';
import type { KnownUnit } from '../tree/unit.ts';
import type { Reason } from '../types.ts';
import { addedAssembler } from './assembler.ts';
import { UnitCompiler } from './compiler.ts';
import { checkExports } from './exported.ts';
import { type Built, extractUnit } from './extraction.ts';
import type { KeptOutcome, MadeOf, UnitOutcome } from './outcome.ts';
import { functionsOf, overridingReasons, weakReasons, withoutDefaults } from './overridden.ts';
import { proveOriginal } from './proving.ts';
import { doesNotCompileHere, isUnlinked } from './reached.ts';
import type { UnitContext, UnitRequest } from './request.ts';
import { stackedChange } from './stacked.ts';

/** Builds one unit, or takes it from the cache: compile, prove, compare, extract, objtool, resolve. */
export async function buildUnit(context: UnitContext, request: UnitRequest): Promise<KeptOutcome> {
  const builder = new UnitBuilder(context, request);
  const key = await builder.key();
  const known = await context.outcomes.find(key);
  if (known !== undefined) return known;
  const scratch = await mkdtemp(join(context.tree.directory, '.unit-'));
  try {
    const { outcome, object } = await builder.run(scratch);
    return await context.outcomes.keep(key, outcome, object, await builder.madeOf());
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

class UnitBuilder {
  readonly #context: UnitContext;
  readonly #request: UnitRequest;
  readonly #compiler: UnitCompiler;

  constructor(context: UnitContext, request: UnitRequest) {
    this.#context = context;
    this.#request = request;
    this.#compiler = new UnitCompiler(context, request);
  }

  /** Stands for everything that the outcome depends on. */
  async key(): Promise<string> {
    const { tree, code } = this.#context;
    const { unit, base, patched, below } = this.#request;
    const inputs = [this.#compiler.stock, await this.#compiler.input(base), await this.#compiler.input(patched)];
    for (const { state } of below) inputs.push(await this.#compiler.input(state));
    const fixes = below.map(({ fix }) => fix);
    // A file of two modules is compiled once and compared with each.
    return sha256([code, unit.object, ...inputs.map((input) => objectKey(tree, unit, input)), ...fixes].join('\0'));
  }

  /** The files of the tree that its states were compiled of. */
  async madeOf(): Promise<MadeOf> {
    const paths = await this.#compiler.includedFromTree();
    return { paths, digest: contentDigest(this.#context.tree, paths) };
  }

  async run(scratch: string): Promise<Built> {
    const { unit, base, patched, reached } = this.#request;
    const apart = imageApart(unit.source, unit.command);
    if (apart !== undefined) return { outcome: { ...this.#nothing(), reasons: [apartReason(unit, apart, reached)] } };
    const compiling = [
      this.#compiler.compile(this.#compiler.stock),
      this.#compiler.input(base).then((input) => this.#compiler.compile(input)),
      this.#compiler.input(patched).then((input) => this.#compiler.compile(input)),
    ] as const;
    const [first] = await Promise.allSettled(compiling);
    if (
      first.status === 'rejected' &&
      first.reason instanceof BuilderError &&
      first.reason.code === 'patch-does-not-compile'
    ) {
      // That this kernel has the file is certain (tree/built.ts): what the change does to it must not be left open.
      if (reached) throw doesNotCompileHere(unit, first.reason);
      const message = `${unit.source} does not even compile unpatched: this kernel is not built from it`;
      throw new BuilderError('unit-not-built', message, { hint: 'leave the file out of the fix for this kernel' });
    }
    const [stockObject, baseObject, patchedObject] = await Promise.all(compiling);
    const facts = await this.#context.facts();
    const [stock, after] = await Promise.all([
      this.#compiler.view(stockObject.object, facts),
      this.#compiler.view(patchedObject.object, facts),
    ]);
    const isStacked = baseObject.object !== stockObject.object;
    const before = isStacked ? await this.#compiler.view(baseObject.object, facts) : stock;
    const compared = isStacked ? stackedChange(unit, stock, before, after) : compareUnit(unit, stock, after);
    const callbacks = declaredCallbacks(unit, before, after);
    const others = newGlobals(compared).length + callbacks.declared.length;
    if (compared.changed.size + others + compared.reasons.length === 0) return { outcome: this.#nothing() };
    const { proof, overridden } = await proveOriginal(this.#context, unit, this.#compiler, scratch);
    if (reached && isUnlinked(unit, stock, proof)) return { outcome: this.#nothing() };
    const change = withoutDefaults(compared, overridden);
    const functions = functionsOf(change);
    const isEmpty = functions.length + others === 0;
    const added = [...change.added].flatMap(({ kind, symbol }) => (kind === 'function' ? (symbol?.name ?? []) : []));
    const headers = [...patched.headers.keys()];
    const types = checkTypes(unit.source, stock.file, after.file, { changed: functions, added, headers });
    const reasons: Reason[] = [
      ...change.reasons,
      ...callbacks.reasons,
      ...(await addedAssembler(this.#context, this.#request, this.#compiler, baseObject, patchedObject)),
      ...weakReasons(unit, functionsOf(compared), overridden),
      ...(await overridingReasons(unit, newGlobals(change), facts)),
      ...(functions.length === 0 ? [] : await proofReasons(this.#context.edges, unit, proof, functions)),
      ...types,
      // The types of exports are among those compared: where none differs, no CRC does.
      ...(types.length > 0 && hasExports(stock.file)
        ? await checkExports(this.#context, this.#request, this.#compiler, scratch)
        : []),
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
    const found = { outcome, change, callbacks: callbacks.declared, after, proof, facts, scratch };
    return await extractUnit(this.#context, this.#request, this.#compiler, found);
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

  /** Which of the fixes below change a function that this livepatch changes again, and so holds too. */
  async #dependsOn(functions: readonly string[], facts: BuildFacts): Promise<string[]> {
    const found: string[] = [];
    let before = await this.#compiler.view((await this.#compiler.compile(this.#compiler.stock)).object, facts);
    for (const { fix, state } of this.#request.below) {
      const after = await this.#compiler.view(
        (await this.#compiler.compile(await this.#compiler.input(state))).object,
        facts,
      );
      const { changed, added } = compareUnit(this.#request.unit, before, after);
      const touched = [...changed.values(), ...added].map((atom) => atom.symbol?.name ?? '');
      if (touched.some((name) => functions.includes(name))) found.push(fix);
      before = after;
    }
    return found;
  }
}

/** A unit that a changed header only reaches goes on as it is; that may do no harm. */
function apartReason({ source }: KnownUnit, image: string, reached: boolean): Reason {
  const message = `${source} is linked into ${image}: a livepatch changes the kernel and its modules only`;
  return reached
    ? {
        code: 'unit-outside-kernel',
        verdict: 'needs-review',
        message: `${message}; it continues with the old header`,
        source,
      }
    : { code: 'unit-outside-kernel', verdict: 'refused', message, source };
}
