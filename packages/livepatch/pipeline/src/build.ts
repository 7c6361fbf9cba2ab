import { join } from 'node:path';
import { audited, FixedWorlds, World } from '@kmend/audit';
import { errorCode, KmendError } from '@kmend/base';
import {
  assertEffectiveVersion,
  type Builder,
  BuilderError,
  type Fix,
  openSigningKey,
  prepareOutput,
  type SigningKeyFiles,
  signResult,
  writeLivepatch,
} from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import type { Livepatch } from '@kmend/protocol';
import { companionsOf } from './import.ts';
import type { Workshop } from './workshop.ts';

export interface BuildOrder {
  /** Release or build id of a kernel of the store. */
  readonly kernel: string;
  /** In the order in which they apply. */
  readonly fixes: readonly Fix[];
  readonly kind: Livepatch['kind'];
  /** For a stacked livepatch: the fixes that hosts have loaded before, in their order. */
  readonly on: readonly Fix[];
  readonly effectiveVersion?: string | undefined;
  /** Version or release of the distribution's fixed kernel to compare with; default: those that the fixes come from. */
  readonly fixedIn?: string | undefined;
  readonly acceptReview: boolean;
  /** Signs the module for the kernel's own check of modules. */
  readonly sign?: SigningKeyFiles | undefined;
  /** Folder to write; an earlier build in it is replaced. */
  readonly out: string;
}

/**
 * Builds a livepatch, signs it for the kernel where a key is given, audits the finished module, and writes all of it. A
 * refusal is a verdict in the manifest; throws `BuilderError` if there can be none.
 */
export async function buildLivepatch(workshop: Workshop, order: BuildOrder): Promise<Livepatch> {
  const { edges, images, sources } = workshop;
  const { fixes, kind, on, effectiveVersion, acceptReview, out } = order;
  // Both before the build, so that a mistyped version and a wrong key cost no time.
  assertEffectiveVersion(effectiveVersion);
  const key = order.sign === undefined ? undefined : await openSigningKey(order.sign);
  const kernel = await workshop.kernels.open(order.kernel);
  await prepareOutput(out);
  const builder = await workshop.builder(kernel);
  // Read while the compilers run; a failure before it is awaited must not end the process.
  const world = World.open(kernel);
  world.catch(() => {});
  const fixed = { kernels: images, sources, wanted: order.fixedIn };
  const built = await builder
    .build({ fixes, kind, on, effectiveVersion, acceptReview, fixed })
    .catch(async (error: unknown) => {
      if (!(error instanceof BuilderError) || errorCode(error) !== 'patch-does-not-compile') throw error;
      const hints = await companionHints(workshop, builder, { kernel, fixes });
      throw hints.length === 0 ? error : withHint(error, hints.join('\n'));
    });
  const signed = key === undefined ? built : await signResult(edges, built, key);
  edges.progress.step('audit the finished livepatch');
  const source = { patches: [...on, ...fixes].map(({ patch }) => patch), tree: builder.sourceTree };
  const result = await audited(() => world, signed, source, new FixedWorlds(images));
  await writeLivepatch(out, result);
  return result.manifest;
}

/** What became of one kernel of several. */
export interface KernelOutcome {
  readonly release: string;
  readonly buildId: string;
  /** Its own output folder. */
  readonly out: string;
  /** Absent where there can be no verdict: `error` says why. */
  readonly livepatch?: Livepatch;
  readonly error?: KmendError;
}

/**
 * The same order for several kernels, one after the other, each into a folder of its release (of its build id, where
 * two have one release) in `out`. What ends one kernel's build ends no other's; an unknown kernel ends all before the
 * first.
 */
export async function buildForKernels(
  workshop: Workshop,
  { kernels: names, ...order }: Omit<BuildOrder, 'kernel'> & { readonly kernels: readonly string[] },
): Promise<readonly KernelOutcome[]> {
  const kernels: Kernel[] = [];
  for (const name of names) {
    const kernel = await workshop.kernels.open(name);
    if (!kernels.some(({ buildId }) => buildId === kernel.buildId)) kernels.push(kernel);
  }
  const outcomes: KernelOutcome[] = [];
  for (const { release, buildId } of kernels) {
    const isAlone = kernels.filter((kernel) => kernel.release === release).length === 1;
    const known = { release, buildId, out: join(order.out, isAlone ? release : buildId) };
    try {
      outcomes.push({
        ...known,
        livepatch: await buildLivepatch(workshop, { ...order, kernel: buildId, out: known.out }),
      });
    } catch (error) {
      if (!(error instanceof KmendError) || workshop.edges.signal.aborted) throw error;
      outcomes.push({ ...known, error });
    }
  }
  return outcomes;
}

/**
 * For fixes that do not compile: the files of the same delta that make one compile, and the `fix import` command that
 * takes them. One line a fix that such files are found for.
 */
async function companionHints(
  workshop: Workshop,
  builder: Builder,
  { kernel, fixes }: { readonly kernel: Kernel; readonly fixes: readonly Fix[] },
): Promise<string[]> {
  const hints: string[] = [];
  for (const fix of fixes) {
    const { origin } = fix;
    if (origin.kind !== 'debian' || origin.from !== kernel.version) continue;
    const found = await companionsOf(workshop, builder, fix);
    if (found === undefined || found.compiles || !found.complete) continue;
    const files = found.companions.join(' ');
    hints.push(`${fix.id} compiles together with ${files} of the same delta: ${importCommand(fix, origin)}`);
  }
  return hints;
}

function withHint(error: BuilderError, hint: string): BuilderError {
  const { code, message, details } = error;
  return new BuilderError(code, message, { hint, details: { ...details }, cause: error });
}

function importCommand({ id }: Fix, origin: Extract<Fix['origin'], { kind: 'debian' }>): string {
  const { suite, from, to, paths, parts } = origin;
  // A header that is named is taken whole.
  const whole = paths.filter((path) => parts?.[path] === undefined);
  const where = `--suite ${suite} --from ${from} --to ${to} --path ${whole.join(' ')}`;
  return `kmend fix import --id ${id} ${where} --replace --companions${parts === undefined ? '' : ' parts'}`;
}
