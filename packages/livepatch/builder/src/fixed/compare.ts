import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KmendError, parseJson } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { flavourOf, type KernelImage, type SourceStore } from '@kmend/kernel';
import { type FixedComparison, FixedDifference, type VerdictReason } from '@kmend/protocol';
import { z } from 'zod';
import { UnitCompiler } from '../assemble/compiler.ts';
import type { UnitOutcome } from '../assemble/outcome.ts';
import type { UnitContext, UnitRequest } from '../assemble/request.ts';
import { objectKey } from '../compile/compile.ts';
import type { Fix } from '../fix/model.ts';
import { type Budget, type Cause, CauseFinder, type ComparedUnit, compareState } from './cause.ts';
import { choiceOf, type FixedKernels, howToAdd } from './choice.ts';
import { compareFinished, type ExpectedFunction } from './finished.ts';
import { FixedKernel } from './reference.ts';
import { differenceMessage, differenceReason } from './tell.ts';
import type { FunctionResult } from './unit.ts';
import { TrialTree, Upload } from './upload.ts';

/** Where the fixed kernels of a distribution come from, and what is asked of them. */
export interface FixedRequest {
  readonly kernels: FixedKernels;
  /** Sources of their versions: to find why a function differs. */
  readonly sources: SourceStore;
  /** Version or release to compare with, instead of those that the fixes came from. */
  readonly wanted?: string | undefined;
}

/** What is kept of one unit's comparison: everything that went into it is in its key. */
const Kept = z.object({
  functions: z.array(
    z.object({ name: z.string(), equal: z.boolean(), asExtracted: z.boolean(), parts: z.array(z.string()) }),
  ),
  different: z.array(FixedDifference),
  /** Where the fixed kernel has the functions' parts and what they refer to, hexadecimal. */
  places: z.record(z.string(), z.string()),
  /** The causes of differences could be looked for. */
  isWhole: z.boolean(),
});
type Kept = z.infer<typeof Kept>;

/** Trials for a whole build: some minutes. */
const TRIALS = 60;

/** Content of the file that says that a finished module is as it should be. */
const FINE = 'equal\n';

interface Compared {
  readonly kernel: FixedKernel;
  readonly object: string;
  /** The unit's. */
  readonly source: string;
  readonly kept: Kept;
}

/** The comparison of one build with the distribution's fixed kernels. `scratch`: a folder of the build. */
export class FixedComparer {
  readonly #context: UnitContext;
  readonly #request: FixedRequest;
  readonly #scratch: string;
  readonly #images = new Map<string, Promise<KernelImage | KmendError | undefined>>();
  readonly #kernels = new Map<string, FixedKernel>();
  readonly #uploads = new Map<string, Upload>();
  readonly #compared: Compared[] = [];
  readonly #notCompared = new Set<string>();
  readonly #budget: Budget = { left: TRIALS };
  #trials: Promise<TrialTree> | undefined;

  constructor(context: UnitContext, request: FixedRequest, scratch: string) {
    this.#context = context;
    this.#request = request;
    this.#scratch = scratch;
  }

  /** Compares the functions that each unit replaces. One unit after the other: the trials share a folder. */
  async compare(
    units: readonly { readonly request: UnitRequest; readonly outcome: UnitOutcome }[],
    fixes: readonly Fix[],
  ): Promise<void> {
    for (const { request, outcome } of units) {
      if (outcome.registered.length === 0) continue;
      this.#context.edges.signal.throwIfAborted();
      await this.#unit(request, outcome, fixes);
    }
  }

  /** For `livepatch.json`. */
  summary(): FixedComparison {
    const functions = this.#compared.flatMap(({ kept }) => kept.functions);
    const images = new Map(this.#compared.map(({ kernel }) => [kernel.image.buildId, kernel.image]));
    return {
      compared: functions.length,
      equal: functions.filter(({ equal }) => equal).length,
      kernels: [...images.values()].map(({ version, release, buildId }) => ({ version, release, buildId })),
      different: this.#compared.flatMap(({ kept }) => kept.different),
      notCompared: [
        ...this.#notCompared,
        ...functions
          .filter(({ equal, asExtracted }) => equal && !asExtracted)
          .map(
            ({ name }) => `${name} in the finished module: the compiler lays it out otherwise in a section of its own`,
          ),
      ],
    };
  }

  /** Reasons for a review. */
  reasons(): VerdictReason[] {
    return this.#compared.flatMap(({ kept }) => kept.different).flatMap((difference) => differenceReason(difference));
  }

  /**
   * The same functions as the finished module has them: reasons where one is not what its unit's code was. Known by the
   * module's hash afterwards.
   */
  async finished(module: Uint8Array): Promise<VerdictReason[]> {
    const ids = this.#compared.map(({ kernel, object }) => `${kernel.image.buildId} ${object}`);
    const names = this.#compared.flatMap(({ kept }) => kept.functions.filter(({ equal }) => equal));
    const key = sha256([this.#context.code, sha256(module), ...ids, ...names.map(({ name }) => name)].join('\0'));
    const path = this.#path(key);
    if ((await readFile(path, 'utf8').catch(() => '')) === FINE) return [];
    const expected: ExpectedFunction[] = [];
    for (const { kernel, object, source, kept } of this.#compared) {
      const image = await kernel.object(object);
      if (image === undefined) continue;
      const places = new Map(Object.entries(kept.places).map(([name, address]) => [name, BigInt(`0x${address}`)]));
      for (const { name, asExtracted, parts } of kept.functions)
        if (asExtracted) expected.push({ name, source, parts, image, places });
    }
    const failures = compareFinished(module, expected);
    if (failures.length === 0) await keep(path, FINE);
    return failures.map(({ name, source, why }) => ({
      code: 'fixed-kernel-module-differs',
      verdict: 'refused',
      message: `${name} equals the fixed kernel's as compiled, but not as it is in the finished module: ${why}`,
      source,
      symbol: name,
    }));
  }

  async #unit(request: UnitRequest, outcome: UnitOutcome, fixes: readonly Fix[]): Promise<void> {
    const { kernel } = this.#context.tree;
    const { source, object } = request.unit;
    const choice = choiceOf(kernel, request, fixes, this.#request.wanted);
    if (choice === undefined) {
      this.#notCompared.add(`${source}: its fixes name no version of the distribution; name one with --fixed-in`);
      return;
    }
    const image = await this.#find(choice.name);
    if (image instanceof KmendError) {
      this.#notCompared.add(`${choice.name} cannot be read: ${image.message}`);
      return;
    }
    if (image === undefined && kernel.local !== undefined) {
      const why = 'is not in the store; build the fixed kernel yourself, add it, and name its release with --fixed-in';
      this.#notCompared.add(`${choice.name} of this configuration ${why}`);
      return;
    }
    if (image === undefined) {
      const how = howToAdd(choice, flavourOf(kernel.release));
      this.#notCompared.add(`${choice.name} is not in the store; get it with: ${how}`);
      return;
    }
    if (image.buildId === kernel.buildId) {
      this.#notCompared.add(`${source}: ${choice.name} is the kernel that the livepatch is for`);
      return;
    }
    const fixed = this.#kernels.get(image.buildId) ?? new FixedKernel(image);
    this.#kernels.set(image.buildId, fixed);
    const compiler = new UnitCompiler(this.#context, request);
    const input = await compiler.input(request.patched);
    const functions = outcome.functions.map(({ name }) => name);
    const keys = [compiler.stock, input].map((state) => objectKey(this.#context.tree, request.unit, state));
    const path = this.#path(sha256([this.#context.code, ...keys, object, ...functions, image.buildId].join('\0')));
    const known = Kept.safeParse(parseJson(await readFile(path, 'utf8').catch(() => ''))).data;
    const kept = known ?? (await this.#compareUnit(request, compiler, functions, fixed, choice.suite));
    if (typeof kept === 'string') {
      this.#notCompared.add(kept);
      return;
    }
    if (known === undefined && kept.isWhole) await keep(path, JSON.stringify(kept));
    this.#compared.push({ kernel: fixed, object, source, kept });
  }

  async #compareUnit(
    request: UnitRequest,
    compiler: UnitCompiler,
    functions: readonly string[],
    fixed: FixedKernel,
    suite: string,
  ): Promise<Kept | string> {
    const { source, object } = request.unit;
    const { version, release } = fixed.image;
    this.#context.edges.progress.step(`compare ${source} with ${release} (${version})`);
    const image = await fixed.object(object);
    if (image === undefined) return `${source}: ${release} (${version}) has no ${object}`;
    const scratch = await mkdtemp(join(this.#scratch, 'fixed-'));
    const stock = await compiler.view((await compiler.compile(compiler.stock)).object, await this.#context.facts());
    const unit = { context: this.#context, request, compiler, image, stock, scratch };
    const result = await compareState(unit, await compiler.input(request.patched), functions);
    const unequal = result.functions.filter(({ equal }) => !equal);
    const causes = await orKmendError(this.#causes(unit, unequal, fixed.image, suite));
    if (causes instanceof KmendError)
      this.#notCompared.add(`${source}: why functions differ cannot be found: ${causes.message}`);
    await rm(scratch, { recursive: true, force: true });
    return {
      functions: result.functions.map(({ name, equal, asExtracted, parts }) => ({
        name,
        equal,
        asExtracted,
        parts: [...parts],
      })),
      different: unequal.map(({ name, why }) => {
        const found = causes instanceof KmendError ? undefined : causes.get(name);
        const cause = found ?? { cause: 'unexplained', files: [] };
        return differenceMessage({ name, source, version, ...cause, files: [...cause.files] }, why);
      }),
      places: Object.fromEntries([...result.places].map(([name, address]) => [name, address.toString(16)])),
      isWhole: !(causes instanceof KmendError) && this.#budget.left > 0,
    };
  }

  async #causes(
    unit: ComparedUnit,
    unequal: readonly FunctionResult[],
    image: KernelImage,
    suite: string,
  ): Promise<ReadonlyMap<string, Cause>> {
    if (unequal.length === 0) return new Map();
    const { edges, tree } = this.#context;
    edges.progress.step(`find why functions of ${unit.request.unit.source} differ in ${image.version}`);
    const range = { suite, from: tree.kernel.version, to: image.version };
    const upload = this.#uploads.get(image.version) ?? new Upload(edges, tree, this.#request.sources, range);
    this.#uploads.set(image.version, upload);
    this.#trials ??= TrialTree.make(edges, tree, this.#scratch);
    const finder = await CauseFinder.open(unit, upload, await this.#trials, this.#budget);
    return await finder.causesOf(unequal.map(({ name }) => name));
  }

  #find(name: string): Promise<KernelImage | KmendError | undefined> {
    const image =
      this.#images.get(name) ?? orKmendError(this.#request.kernels.find(name, this.#context.tree.kernel.release));
    this.#images.set(name, image);
    return image;
  }

  #path(key: string): string {
    return join(this.#context.cache, 'fixed', key.slice(0, 2), `${key}.json`);
  }
}

async function keep(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, text);
}

/** What cannot be had of a fixed kernel is no reason to build nothing. */
async function orKmendError<T>(asked: Promise<T>): Promise<T | KmendError> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof KmendError) return error;
    throw error;
  }
}
