import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { identifyModule, readElf, writeElf } from '@kmend/elf';
import type { Kernel } from '@kmend/kernel';
import type { Livepatch, VerdictReason } from '@kmend/protocol';
import type { SystemSource } from '@kmend/toolchain/roots';
import { contentDigest } from '../compile/hashes.ts';
import { BuilderError } from '../error.ts';
import type { DeltaTexts } from '../fix/companions.ts';
import type { Fix } from '../fix/model.ts';
import type { HeaderParts } from '../fix/part.ts';
import { FixedComparer, type FixedRequest } from '../fixed/compare.ts';
import { heldSymbolName } from '../link/klp.ts';
import { linkModule } from '../link/link.ts';
import { nameProvided, type Requires, resolveProvided } from '../link/provided.ts';
import type { RegisteredObject } from '../link/registration.ts';
import { assertEffectiveVersion, makeManifest } from '../manifest.ts';
import { partReasons } from '../review/parts.ts';
import { reviewSource } from '../review/review.ts';
import { type BuildFacts, loadFacts } from '../shipped-kernel.ts';
import { applyFixes, type ChangedSource } from '../source/apply.ts';
import { type ChangedHeaders, headersKey, headerTree } from '../source/header-tree.ts';
import { prepareTree } from '../tree/prepare.ts';
import { readRecipe } from '../tree/recipe.ts';
import type { PreparedTree } from '../tree/tree.ts';
import { hashInputs } from './inputs.ts';
import { type LeftAlone, type LeftAloneSample, leftAlone } from './left-alone.ts';
import { builtFrom, findLeftOut } from './left-out.ts';
import { type KeptOutcome, OutcomeCache, type UnitOutcome } from './outcome.ts';
import { planUnits, planWitnesses } from './plan.ts';
import type { UnitContext, UnitRequest } from './request.ts';
import { proveSample } from './sample.ts';
import { type Companions, searchCompanions } from './search-companions.ts';
import { type TrialFailure, tryToCompile } from './trial.ts';
import { buildUnit } from './unit.ts';
import { codeDigest } from './version.ts';

export interface BuildRequest {
  readonly fixes: readonly Fix[];
  readonly kind: Livepatch['kind'];
  /** For a stacked livepatch: the fixes of the series that hosts have loaded before it. */
  readonly on?: readonly Fix[];
  /**
   * Version of the distribution's kernel whose security fixes are all in it: your word; the module is the same with and
   * without.
   */
  readonly effectiveVersion?: string | undefined;
  /** A person has read the reasons for review and accepts them. */
  readonly acceptReview: boolean;
  /** What the replaced functions are compared with beside the kernel itself: the distribution's own fixed kernels. */
  readonly fixed?: FixedRequest;
}

export interface BuildResult {
  readonly manifest: Livepatch;
  /** The module; absent unless the verdict is `patchable`, or `needs-review` and accepted. */
  readonly module?: Uint8Array;
}

/** Units built side by side: their compilers take turns with the comparing, which is this process's own. */
const UNITS_AT_ONCE = 2;

/** Builds livepatches for one kernel; what is known of the kernel is read once. */
export class Builder {
  readonly #edges: Pick<Edges, 'run' | 'progress' | 'signal'>;
  readonly #tree: PreparedTree;
  readonly #context: UnitContext;

  private constructor(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    cacheDirectory: string,
    tree: PreparedTree,
    code: string,
  ) {
    this.#edges = edges;
    this.#tree = tree;
    let facts: Promise<BuildFacts> | undefined;
    const roots = new Map<string, Promise<string>>();
    this.#context = {
      edges,
      tree,
      cache: cacheDirectory,
      outcomes: new OutcomeCache(cacheDirectory, ({ paths, digest }) => contentDigest(tree, paths) === digest),
      code,
      facts: () => (facts ??= loadFacts(tree.kernel)),
      headerRoot: (headers: ChangedHeaders) => {
        const key = headersKey(headers);
        const root = roots.get(key) ?? headerTree(edges, tree, headers);
        roots.set(key, root);
        return root;
      },
    };
  }

  /** Prepares the kernel's tree, or finds it in the cache. `systems`: where its build root is installed from. */
  static async open(
    edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
    cacheDirectory: string,
    kernel: Kernel,
    systems: SystemSource = {},
  ): Promise<Builder> {
    const [tree, code] = await Promise.all([prepareTree(edges, kernel, cacheDirectory, systems), codeDigest()]);
    return new Builder(edges, cacheDirectory, tree, code);
  }

  /** The kernel's source as it was shipped, configured; read-only. */
  get sourceTree(): string {
    return this.#tree.source;
  }

  /** Builds one livepatch. Throws `BuilderError` where there can be no verdict; refusals are in the manifest. */
  async build(request: BuildRequest): Promise<BuildResult> {
    return await this.#inScratch('.build-', (scratch) => this.#build(request, scratch));
  }

  /**
   * Whether a fix compiles by itself, and if not, which further files of the delta that it was taken from make it
   * compile. `extend`: the same fix with more files. `how`: headers whole, or of each only what the errors are about;
   * the parts that a fix has stay parts.
   */
  async companionsOf(
    fix: Fix,
    delta: DeltaTexts,
    extend: (paths: readonly string[], parts: HeaderParts) => Promise<Fix>,
    how: 'whole' | 'parts' = 'whole',
  ): Promise<Companions> {
    const leftOut = [...(await findLeftOut(this.#context, [fix]))].sort();
    const attempt = (tried: Fix): Promise<TrialFailure[]> =>
      this.#withSources(tried, (sources) => tryToCompile(this.#context, sources, [tried]));
    return await searchCompanions(fix, { leftOut, delta, how, attempt, extend, signal: this.#edges.signal });
  }

  /**
   * Those of the files of the kernel's source that this kernel is built from: C files that are linked, and texts that
   * such a file can include.
   */
  async builtFrom(paths: readonly string[]): Promise<ReadonlySet<string>> {
    return await builtFrom(this.#context, paths);
  }

  /** Checks what the search for the units that a fix reaches has left out, by compiling a sample of it. */
  async leftAlone(fix: Fix, sample: LeftAloneSample): Promise<LeftAlone[]> {
    return await this.#withSources(fix, async (sources) => await leftAlone(this.#context, sources, fix, sample));
  }

  /**
   * Proves that this is the kernel's source, configuration and compiler, as far as a sample of units shows it. Throws
   * `kernel-not-proven`, and `kernel-parts-differ` where the configuration makes other modules.
   */
  async proveSample(): Promise<void> {
    await this.#inScratch('.sample-', (scratch) => proveSample(this.#context, scratch));
  }

  async #withSources<T>(fix: Fix, use: (sources: readonly ChangedSource[]) => Promise<T>): Promise<T> {
    return await this.#inScratch('.try-', async (scratch) => {
      const leftOut = await findLeftOut(this.#context, [fix]);
      const sources = await applyFixes(this.#edges, this.#tree.source, [fix], scratch);
      return await use(sources.filter(({ path }) => !leftOut.has(path)));
    });
  }

  async #inScratch<T>(prefix: string, use: (scratch: string) => Promise<T>): Promise<T> {
    const scratch = await mkdtemp(join(this.#tree.directory, prefix));
    try {
      return await use(scratch);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  async #build(request: BuildRequest, scratch: string): Promise<BuildResult> {
    const { fixes, kind, acceptReview, effectiveVersion, on = [] } = request;
    assertEffectiveVersion(effectiveVersion);
    if (on.length > 0 && kind !== 'stacked') {
      throw new BuilderError(
        'fix-conflict',
        'only a stacked livepatch lies on others: a cumulative one holds them itself',
      );
    }
    const inputsHashed = hashInputs(this.#tree);
    // Awaited below; a failure before that must not end the process.
    inputsHashed.catch(() => {});
    const leftOut = await findLeftOut(this.#context, [...on, ...fixes]);
    const changed = await applyFixes(this.#edges, this.#tree.source, [...on, ...fixes], scratch);
    const sources = changed.filter(({ path }) => !leftOut.has(path));
    const { plan, outcomes } = await this.#planned(sources, on, fixes);
    const units = outcomes.map(({ outcome }) => outcome);
    const provided = resolveProvided(units, await this.#requires(units));
    const reviewed = new Set(fixes.map(({ id }) => id));
    const found: VerdictReason[] = [
      ...outcomes.flatMap(({ outcome }) => outcome.reasons),
      ...provided.reasons,
      ...sources.flatMap((source) => reviewSource(source, reviewed)),
    ];
    const isNothing = outcomes.every(({ outcome }) => outcome.functions.length + outcome.callbacks.length === 0);
    const reasons = isNothing && found.every(isReview) ? refusedAsNothing(found) : found;
    const comparer =
      request.fixed !== undefined && reasons.every(isReview)
        ? new FixedComparer(this.#context, request.fixed, scratch)
        : undefined;
    const planned = outcomes.flatMap(({ outcome }, index) => {
      const unit = plan[index];
      return unit === undefined ? [] : [{ request: unit, outcome }];
    });
    await comparer?.compare(planned, [...on, ...fixes]);
    reasons.push(...(comparer?.reasons() ?? []), ...partReasons(fixes, comparer?.summary()));
    const { kernel, root } = this.#tree;
    const inputs = {
      fixes: Object.fromEntries(fixes.map((fix) => [fix.id, fix.sha256])),
      ...(on.length === 0 ? {} : { on: Object.fromEntries(on.map((fix) => [fix.id, fix.sha256])) }),
      ...(await inputsHashed),
    };
    const fixedKernel = comparer?.summary();
    const without = [...leftOut].sort();
    const parts = {
      kernel,
      fixes,
      kind,
      effectiveVersion,
      acceptReview,
      units,
      fixedKernel,
      inputs,
      leftOut: without,
      buildRoot: root.contents,
    };
    const draft = makeManifest({ ...parts, reasons });
    if (draft.verdict === 'refused' || (draft.verdict === 'needs-review' && !acceptReview)) return { manifest: draft };
    const { module, identity } = identifyModule(await this.#link(draft, outcomes, provided.providerOf, scratch));
    const unequal = (await comparer?.finished(module)) ?? [];
    if (unequal.length > 0) return { manifest: makeManifest({ ...parts, reasons: [...reasons, ...unequal] }) };
    const file = { name: `${identity.name}.ko`, sha256: sha256(module), size: module.length };
    return { manifest: { ...makeManifest({ ...parts, reasons, id: identity.id }), file }, module };
  }

  /** Builds all units, or the one whose refusal is the answer. */
  async #planned(
    sources: readonly ChangedSource[],
    on: readonly Fix[],
    fixes: readonly Fix[],
  ): Promise<{ readonly plan: readonly UnitRequest[]; readonly outcomes: readonly KeptOutcome[] }> {
    for (const { request, moving } of await planWitnesses(this.#context, sources, on, fixes)) {
      const [kept] = await this.#units([request]);
      const index = kept?.outcome.reasons.findIndex((reason) => !isReview(reason)) ?? -1;
      const refused = kept?.outcome.reasons[index];
      if (kept === undefined || refused === undefined) continue;
      const message = `${refused.message}; the fixes change ${moving.join(', ')}, and no other file that includes that was looked at`;
      const reasons = kept.outcome.reasons.with(index, { ...refused, message });
      return { plan: [request], outcomes: [{ ...kept, outcome: { ...kept.outcome, reasons } }] };
    }
    const plan = await planUnits(this.#context, sources, on, fixes);
    return { plan, outcomes: await this.#units(plan) };
  }

  async #units(plan: readonly UnitRequest[]): Promise<KeptOutcome[]> {
    const { signal, progress } = this.#edges;
    const outcomes = new Array<KeptOutcome>(plan.length);
    let next = 0;
    let done = 0;
    const work = async (): Promise<void> => {
      for (let index = next++; index < plan.length; index = next++) {
        const request = plan[index];
        if (request === undefined) return;
        signal.throwIfAborted();
        if (plan.length === 1) progress.step(`build ${request.unit.source} for ${this.#tree.kernel.release}`);
        outcomes[index] = await buildUnit(this.#context, request);
        progress.advance(++done, plan.length, 'items');
      }
    };
    if (plan.length > 1) progress.step(`build ${plan.length} files for ${this.#tree.kernel.release}`);
    await Promise.all(Array.from({ length: UNITS_AT_ONCE }, work));
    return outcomes;
  }

  /** What each object of a livepatch may count on, see `BuildFacts.requires`. */
  async #requires(units: readonly UnitOutcome[]): Promise<Requires> {
    // Only new globals are used across objects.
    if (units.every(({ unknown }) => unknown.length === 0)) return () => new Set();
    const facts = await this.#context.facts();
    const objects = [...new Set(units.map(({ object }) => object))];
    const required = new Map(
      await Promise.all(objects.map(async (object) => [object, await facts.requires(object)] as const)),
    );
    return (object) => required.get(object) ?? new Set();
  }

  async #link(
    draft: Livepatch,
    outcomes: readonly KeptOutcome[],
    providerOf: ReturnType<typeof resolveProvided>['providerOf'],
    scratch: string,
  ): Promise<Uint8Array> {
    this.#edges.progress.step('link the livepatch');
    const objects = new Map<string, RegisteredObject>();
    const expected = new Set<string>();
    const namespaces = new Set<string>();
    for (const { outcome } of outcomes) {
      const { object: name, registered, callbacks, resolutions } = outcome;
      const object = objects.get(name) ?? { functions: [], callbacks: [] };
      // A module's references are filled in for objects of the livepatch alone, though none of its functions be
      // replaced.
      const isLate = resolutions.some((resolution) => resolution.kind === 'klp' && resolution.object !== 'vmlinux');
      if (registered.length + callbacks.length > 0 || isLate) objects.set(name, object);
      object.functions.push(...registered);
      object.callbacks.push(...callbacks);
      for (const resolution of resolutions) {
        expected.add(resolution.kind === 'klp' ? heldSymbolName(name, resolution) : resolution.exportedName);
        if (resolution.kind === 'export' && resolution.namespace !== '') namespaces.add(resolution.namespace);
      }
    }
    // The registration itself uses this one, an export of vmlinux.
    expected.add('klp_enable_patch').add('__fentry__').add('__x86_return_thunk');
    const registration = {
      description: `kmend ${draft.kind} livepatch for ${draft.kernel.release}`,
      replace: draft.kind === 'cumulative',
      objects,
      namespaces: [...namespaces].sort(),
    };
    const paths: string[] = [];
    for (const { outcome, objectPath } of outcomes) {
      if (objectPath === undefined) continue;
      const { object, provides, unknown } = outcome;
      if (provides.length + unknown.length === 0) {
        paths.push(objectPath);
        continue;
      }
      const file = readElf(await readFile(objectPath));
      nameProvided(file, object, new Set(provides), providerOf.get(outcome) ?? new Map());
      const path = join(scratch, `provided-${paths.length}.o`);
      await writeFile(path, writeElf(file));
      paths.push(path);
    }
    const recipe = await readRecipe(this.#tree);
    return await linkModule(this.#edges, this.#tree, {
      recipe,
      objects: paths,
      registration,
      expected,
      scratch,
    });
  }
}

/** There is nothing to patch: because overridden defaults changed alone, or because no code did. */
function refusedAsNothing(reasons: readonly VerdictReason[]): VerdictReason[] {
  if (reasons.some(({ code }) => code === 'weak-overridden'))
    return reasons.map((reason) => (reason.code === 'weak-overridden' ? { ...reason, verdict: 'refused' } : reason));
  const message = 'the fixes change no code of this kernel: nothing to patch; leave them out for this kernel';
  return [...reasons, { code: 'no-function-changed', verdict: 'refused', message }];
}

function isReview({ verdict }: VerdictReason): boolean {
  return verdict === 'needs-review';
}
