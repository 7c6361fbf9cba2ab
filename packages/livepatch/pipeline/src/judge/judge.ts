import { audited, FixedWorlds, World } from '@kmend/audit';
import { errorCode, errorText } from '@kmend/base';
import { type Builder, type Companions, deltaTexts, type HeaderParts, importFromDebian } from '@kmend/builder';
import type { DeltaRange, Kernel } from '@kmend/kernel';
import type { FixedComparison, ToldReason } from '@kmend/protocol';
import { fixIdOf } from '@kmend/update';
import type { Workshop } from '../workshop.ts';

/** The files of one fix, of a delta. */
export interface FixFiles {
  readonly paths: readonly string[];
  /** Of these headers only what concerns definitions of these names. */
  readonly parts?: HeaderParts | undefined;
}

export interface JudgeOrder extends FixFiles {
  /** Also with the files of the delta that it needs, where it does not stand alone. */
  readonly companions: boolean;
}

/** What happened to one fix. */
export interface Outcome {
  readonly paths: readonly string[];
  /** SHA-256 of its patch. */
  readonly fix: string;
  readonly verdict?: string;
  readonly reasons?: readonly ToldReason[];
  /** Sources of the functions that it replaces; absent where there is no livepatch. */
  readonly patched?: readonly string[];
  readonly equal?: number;
  readonly compared?: number;
  /** The replaced functions beside those of the fixed kernel; absent where there is no livepatch. */
  readonly fixed?: FixedComparison | undefined;
  readonly error?: { readonly code: string; readonly message: string };
  readonly companions?: Companions;
  /** The build of the fix with its companions. */
  readonly together?: Outcome;
  readonly seconds: number;
}

type Take = (paths: readonly string[], parts?: HeaderParts) => ReturnType<typeof importFromDebian>;

/** Builds single fixes of a delta for one kernel, one after the other. What is known of the kernel is read once. */
export class Judge {
  readonly #workshop: Workshop;
  readonly #range: DeltaRange;
  readonly #builder: Builder;
  readonly #world: World;
  readonly #fixedWorlds: FixedWorlds;

  private constructor(workshop: Workshop, range: DeltaRange, builder: Builder, world: World) {
    this.#workshop = workshop;
    this.#range = range;
    this.#builder = builder;
    this.#world = world;
    this.#fixedWorlds = new FixedWorlds(workshop.images);
  }

  static async open(workshop: Workshop, kernel: Kernel, range: DeltaRange): Promise<Judge> {
    return new Judge(workshop, range, await workshop.builder(kernel), await World.open(kernel));
  }

  /** Judges one fix. Errors of a build are outcomes. */
  async judge({ paths, parts, companions }: JudgeOrder): Promise<Outcome> {
    return await this.#build(paths, companions, parts);
  }

  async #build(paths: readonly string[], alone: boolean, inParts?: HeaderParts): Promise<Outcome> {
    const begin = performance.now();
    const { edges, images, sources } = this.#workshop;
    const fixed = { kernels: images, sources };
    const words = { id: fixIdOf(paths), severity: 'unknown', hardware: false } as const;
    const take: Take = (wanted, parts) =>
      importFromDebian(edges, sources, words, { ...this.#range, paths: wanted, parts });
    const fix = await take(paths, inParts);
    const seconds = (): number => (performance.now() - begin) / 1000;
    const own = { paths, fix: fix.sha256 };
    try {
      const built = await this.#builder.build({ fixes: [fix], kind: 'cumulative', acceptReview: true, fixed });
      const source = { patches: [fix.patch], tree: this.#builder.sourceTree };
      const { manifest } = await audited(async () => this.#world, built, source, this.#fixedWorlds);
      const { verdict, reasons, byteProof, fixedKernel, objects } = manifest;
      const proof = { equal: byteProof.equal, compared: byteProof.compared };
      const patched = [...new Set(objects.flatMap(({ functions }) => functions.map(({ source }) => source)))].sort();
      const judged = { ...own, verdict, reasons, ...proof, fixed: fixedKernel, patched };
      // It compiles, but another file of the delta defines what it calls.
      const isPart = alone && reasons.some(({ code }) => code === 'symbol-unknown');
      return { ...judged, ...(isPart ? await this.#withCompanions(paths, take) : {}), seconds: seconds() };
    } catch (error) {
      const failed = { ...own, error: { code: errorCode(error) ?? 'internal', message: errorText(error) } };
      if (!alone || errorCode(error) !== 'patch-does-not-compile') return { ...failed, seconds: seconds() };
      return { ...failed, ...(await this.#withCompanions(paths, take, failed.error.message)), seconds: seconds() };
    }
  }

  /**
   * Companions whole; where that cannot be built, of each header only what is needed. `errors`: the compiler's, of the
   * fix by itself.
   */
  async #withCompanions(
    paths: readonly string[],
    take: Take,
    errors = '',
  ): Promise<Pick<Outcome, 'companions' | 'together'>> {
    const whole = await this.#tryCompanions(paths, take, 'whole');
    if (isBuilt(whole) || needsNewMember(whole.together, errors)) return whole;
    const parts = await this.#tryCompanions(paths, take, 'parts');
    return isBuilt(parts) ? parts : whole;
  }

  async #tryCompanions(
    paths: readonly string[],
    take: Take,
    how: 'whole' | 'parts',
  ): Promise<Pick<Outcome, 'companions' | 'together'>> {
    const { edges, sources } = this.#workshop;
    try {
      const fix = await take(paths);
      const companions = await this.#builder.companionsOf(fix, deltaTexts(edges, sources, this.#range), take, how);
      if (!companions.complete) return { companions };
      const all = [...paths, ...companions.companions];
      return { companions, together: await this.#build(all, false, companions.parts) };
    } catch (error) {
      const why = `${errorCode(error) ?? 'internal'}: ${errorText(error)}`;
      return { companions: { leftOut: [], compiles: false, companions: [], complete: false, why } };
    }
  }
}

/** Whether the member that the fix does not compile without is one that the layout of a struct changes for. */
export function needsNewMember(refused: Pick<Outcome, 'reasons'> | undefined, errors: string): boolean {
  const missing = [...errors.matchAll(/has no member named [‘'](\w+)[’']/g)].map(([, name = '']) => name);
  const layouts = (refused?.reasons ?? []).filter(({ code }) => code === 'type-layout-changed');
  return layouts.some(({ message }) => missing.some((name) => message.includes(`member ${name} added`)));
}

function isBuilt({ together }: Pick<Outcome, 'together'>): boolean {
  return together?.verdict !== undefined && together.verdict !== 'refused';
}
