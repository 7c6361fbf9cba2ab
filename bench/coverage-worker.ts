/**
 * One process of `script/bench coverage`: builds single fixes for the bench's kernel, one after the other, as it is told over IPC.
 * What is known of the kernel is read once a process.
 */
import { audited, FixedWorlds, World } from '@kmend/audit';
import { errorCode, errorText, silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import { Builder, type Companions, deltaTexts, type HeaderParts, importFromDebian } from '@kmend/builder';
import { Archive, ImageStore, KernelStore, mirrors, SourceStore } from '@kmend/kernel';
import type { FixedComparison, VerdictReason } from '@kmend/protocol';
import { FROM, KERNEL, SUITE, TO } from '../demo/fixes.ts';

/** What happened to one fix. */
export interface Outcome {
  readonly paths: readonly string[];
  readonly fix: string;
  readonly verdict?: string;
  readonly reasons?: readonly VerdictReason[];
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

const signal = new AbortController().signal;
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
const { cache } = places();
const archive = new Archive(edges, mirrors(process.env), cache);
const sources = new SourceStore(edges, archive, cache);
const range = { suite: SUITE, from: FROM, to: TO };
const kernels = new KernelStore(edges, archive, cache);
const images = new ImageStore(edges, archive, kernels, cache);
const fixed = { kernels: images, sources };
const fixedWorlds = new FixedWorlds(images);
const kernel = await kernels.open(KERNEL);
const builder = await Builder.open(edges, cache, kernel);
const world = await World.open(kernel);

/** The name of the fix that a set of files makes. */
export function fixName(paths: readonly string[]): string {
  return (paths[0] ?? '').replaceAll('/', '.').slice(-60);
}

async function build(paths: readonly string[], alone = true, inParts?: HeaderParts): Promise<Outcome> {
  const begin = performance.now();
  const words = { id: fixName(paths), severity: 'unknown', hardware: false } as const;
  const take: Take = (wanted, parts) => importFromDebian(edges, sources, words, { ...range, paths: wanted, parts });
  const fix = await take(paths, inParts);
  const seconds = (): number => (performance.now() - begin) / 1000;
  const own = { paths, fix: fix.sha256 };
  try {
    const built = await builder.build({ fixes: [fix], kind: 'cumulative', acceptReview: true, fixed });
    const source = { patches: [fix.patch], tree: builder.sourceTree };
    const { manifest } = await audited(async () => world, built, source, fixedWorlds);
    const { verdict, reasons, byteProof, fixedKernel } = manifest;
    const proof = { equal: byteProof.equal, compared: byteProof.compared };
    const judged = { ...own, verdict, reasons, ...proof, fixed: fixedKernel };
    // It compiles, but another file of the delta defines what it calls.
    const isPart = alone && reasons.some(({ code }) => code === 'symbol-unknown');
    return { ...judged, ...(isPart ? await withCompanions(paths, take) : {}), seconds: seconds() };
  } catch (error) {
    const failed = { ...own, error: { code: errorCode(error) ?? 'internal', message: errorText(error) } };
    if (!alone || errorCode(error) !== 'patch-does-not-compile') return { ...failed, seconds: seconds() };
    return { ...failed, ...(await withCompanions(paths, take)), seconds: seconds() };
  }
}

type Take = (paths: readonly string[], parts?: HeaderParts) => ReturnType<typeof importFromDebian>;

/** Companions whole; where that cannot be built, of each header only what is needed. */
async function withCompanions(paths: readonly string[], take: Take): Promise<Pick<Outcome, 'companions' | 'together'>> {
  const whole = await tryCompanions(paths, take, 'whole');
  if (isBuilt(whole)) return whole;
  const parts = await tryCompanions(paths, take, 'parts');
  return isBuilt(parts) ? parts : whole;
}

function isBuilt({ together }: Pick<Outcome, 'together'>): boolean {
  return together?.verdict !== undefined && together.verdict !== 'refused';
}

async function tryCompanions(
  paths: readonly string[],
  take: Take,
  how: 'whole' | 'parts',
): Promise<Pick<Outcome, 'companions' | 'together'>> {
  try {
    const fix = await take(paths);
    const companions = await builder.companionsOf(fix, deltaTexts(edges, sources, range), take, how);
    if (!companions.complete) return { companions };
    const all = [...paths, ...companions.companions];
    return { companions, together: await build(all, false, companions.parts) };
  } catch (error) {
    const why = `${errorCode(error) ?? 'internal'}: ${errorText(error)}`;
    return { companions: { leftOut: [], compiles: false, companions: [], complete: false, why } };
  }
}

process.on('message', (paths: readonly string[]) => {
  build(paths).then(
    (outcome) => process.send?.({ outcome, memory: process.resourceUsage().maxRSS }),
    (error: unknown) => {
      process.stderr.write(`${errorText(error)}\n`);
      process.exit(1);
    },
  );
});
process.send?.({ ready: true });
