import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { withLock, writeFileAtomic } from '@kmend/base/node';
import { type Fix, FixStore, importFromDebian } from '@kmend/builder';
import type { DeltaRange, Kernel } from '@kmend/kernel';
import type { Livepatch, ToldReason } from '@kmend/protocol';
import { readArtifact } from '@kmend/trust';
import { changeKey, fixIdOf, isCovered, type ReportedFix, reportedCves } from '@kmend/update';
import type { FixFiles } from '../judge/judge.ts';
import { JudgePool } from '../judge/pool.ts';
import type { Workshop } from '../workshop.ts';
import { cumulative } from './cumulative.ts';
import { Journal } from './journal.ts';
import { type PlanOrder, surveyUpdate, UpdateError } from './plan.ts';
import { type UpdateReport, updateReportText } from './report.ts';
import type { ReviewStore } from './reviews.ts';
import { type DeadFix, type SplitFix, splitUpdate } from './split.ts';

export interface UpdateBuildOrder extends PlanOrder {
  readonly kernel: Kernel;
  /** Folders and files of the source to limit it to; none: everything that changes. */
  readonly paths: readonly string[];
  /** Only the files of CVEs that the plan attributes by files. */
  readonly named: boolean;
  /** Processes that build fixes. */
  readonly jobs: number;
  /** Folder for the livepatch in `livepatch`, its fixes, the report, and what was judged so far. */
  readonly out: string;
  /**
   * Changes that are left out, by their keys (`changeKey`), with the reasons: with them a livepatch failed its proof.
   */
  readonly aside?: ReadonlyMap<string, string>;
}

/** What is known of a fix before the cumulative livepatch is built. */
interface Chosen {
  readonly fix: Fix;
  readonly files: SplitFix;
  readonly key: string;
  readonly state: 'candidate' | 'waiting' | 'rejected' | 'set-aside';
}

/**
 * Builds a cumulative livepatch of a distribution's update for one kernel: of all that is patchable, and of what needs
 * a review and has been accepted. What waits for a review is put into the inbox. Goes on where it was broken off.
 */
export async function buildUpdate(
  workshop: Workshop,
  reviews: ReviewStore,
  order: UpdateBuildOrder,
): Promise<UpdateReport> {
  await mkdir(order.out, { recursive: true });
  // Two at the same folder would undo each other's work.
  const lock = { signal: workshop.edges.signal, timeoutMs: 0 };
  return await withLock(join(order.out, 'lock'), () => build(workshop, reviews, order), lock);
}

async function build(workshop: Workshop, reviews: ReviewStore, order: UpdateBuildOrder): Promise<UpdateReport> {
  const { edges } = workshop;
  const { kernel, out } = order;
  const { plan, built } = await surveyUpdate(workshop, kernel, order);
  const range: DeltaRange = { suite: plan.suite, from: plan.from, to: plan.to };
  const files = chooseFiles(
    built,
    order,
    new Set(plan.cves.flatMap((cve) => (cve.attribution === 'files' ? cve.files : []))),
  );
  // Fetched once here; the processes that judge find it there.
  await workshop.images.add(`${range.suite}/${range.to}`);
  const { fixes, dead } = await split(workshop, { kernel, range, files }, order);
  const decided = await choose(workshop, reviews, { kernel, range }, fixes);
  const { aside = new Map<string, string>() } = order;
  const chosen = decided.map((one) => (aside.has(one.key) ? { ...one, state: 'set-aside' as const } : one));
  const candidates = chosen.filter(({ state }) => state === 'candidate');
  edges.progress.step(`build one livepatch of ${candidates.length} fixes`);
  const work = join(out, 'building');
  const { livepatch, dropped } = await cumulative(
    workshop,
    { kernel, out: work },
    candidates.map(({ fix, files }) => ({ fix, accepted: files.questions })),
  );
  await keep(
    out,
    work,
    livepatch,
    candidates.map(({ fix }) => fix),
  );
  const reported = [
    ...chosen.map((one) => reportedOf(one, dropped.get(one.fix.id), aside.get(one.key))),
    ...dead.map(deadOf),
  ];
  const { uploads, files: counts, reverts, records } = plan;
  const report: UpdateReport = {
    schema: 'kmend.update-report/1',
    kernel: { release: kernel.release, buildId: kernel.buildId },
    ...range,
    uploads,
    files: { ...counts, tried: files.length },
    livepatch: livepatch === undefined ? null : summaryOf(livepatch),
    fixes: reported,
    cves: reportedCves(plan.cves, reported),
    reverts,
    records,
  };
  await writeReport(out, report);
  return report;
}

/**
 * Attaches the CVEs of records that came later to what was built before: the livepatch stays as it is.
 * `update-not-built` if there is no report in `out`.
 */
export async function attachCves(
  workshop: Workshop,
  { kernel, records, out }: Pick<UpdateBuildOrder, 'kernel' | 'records' | 'out'>,
): Promise<UpdateReport> {
  const text = await readFile(join(out, 'update.json'), 'utf8').catch(() => '');
  const before = parseJson(text) as UpdateReport | undefined;
  if (before?.schema !== 'kmend.update-report/1' || before.kernel.buildId !== kernel.buildId) {
    throw new UpdateError('update-not-built', `${out} has no report of an update of ${kernel.release}`, {
      hint: 'build the update with kmend update build first',
    });
  }
  const { plan } = await surveyUpdate(workshop, kernel, { to: before.to, records });
  const report = { ...before, cves: reportedCves(plan.cves, before.fixes), records: plan.records };
  await writeReport(out, report);
  return report;
}

async function writeReport(out: string, report: UpdateReport): Promise<void> {
  await writeFileAtomic(join(out, 'update.json'), `${JSON.stringify(report, null, 1)}\n`);
  await writeFileAtomic(join(out, 'update.md'), updateReportText(report));
}

/** The files to build, of all that this kernel is built from. Throws `update-path` and `update-nothing`. */
export function chooseFiles(
  built: readonly string[],
  { paths, named }: Pick<UpdateBuildOrder, 'paths' | 'named'>,
  ofCves: ReadonlySet<string>,
): string[] {
  const isIn = (path: string, folder: string): boolean =>
    path === folder || path.startsWith(`${folder.replace(/\/+$/, '')}/`);
  const unknown = paths.find((folder) => !built.some((path) => isIn(path, folder)));
  if (unknown !== undefined) {
    throw new UpdateError('update-path', `the update changes nothing in ${unknown} that this kernel is built from`, {
      hint: 'name files and folders of the kernel source, such as net/ipv4',
    });
  }
  const files = built
    .filter((path) => paths.length === 0 || paths.some((folder) => isIn(path, folder)))
    .filter((path) => !named || ofCves.has(path));
  if (files.length > 0) return files;
  throw new UpdateError('update-nothing', 'the update changes nothing for this kernel that was asked for', {
    hint: named
      ? 'name CVE records with --records, or leave --named out'
      : 'name another version with --to; kmend update plan shows what each changes',
  });
}

async function split(
  workshop: Workshop,
  { kernel, range, files }: { readonly kernel: Kernel; readonly range: DeltaRange; readonly files: readonly string[] },
  { jobs, out }: UpdateBuildOrder,
) {
  const { progress } = workshop.edges;
  const journal = await Journal.open(out, { kernel, range });
  await using pool = new JudgePool({ workshop, kernel, range }, jobs);
  let done = 0;
  return await splitUpdate(files, async (fix, companions) => {
    const outcome = await journal.judge(pool, fix, companions);
    const [first = '', ...others] = fix.paths;
    progress.step(
      `${++done} built, of ${files.length} files: ${first}${others.length > 0 ? ` and ${others.length} more` : ''}`,
    );
    return outcome;
  });
}

/** Makes the fixes, and looks up what a person has decided on those that need it. */
async function choose(
  { edges, sources }: Workshop,
  reviews: ReviewStore,
  { kernel, range }: { readonly kernel: Kernel; readonly range: DeltaRange },
  fixes: readonly SplitFix[],
): Promise<Chosen[]> {
  const chosen: Chosen[] = [];
  for (const files of fixes) {
    const { paths, parts, questions } = files;
    const words = { id: fixIdOf(paths), severity: 'unknown', hardware: false } as const;
    const fix = await importFromDebian(edges, sources, words, { ...range, paths, parts });
    const key = changeKey(fix.patch);
    const decided = questions.length === 0 ? undefined : await reviews.find(key);
    const isDecided = decided !== undefined && isCovered(questions, decided.reasons);
    if (questions.length > 0 && !isDecided) {
      const { from, to } = range;
      const found = { kernel: kernel.release, from, to };
      await reviews.ask({ key, fix: fix.id, paths: [...paths], ...found, reasons: [...questions] }, fix.patch);
    }
    chosen.push({ fix, files, key, state: stateOf(questions, isDecided ? decided.state : 'open') });
  }
  return chosen;
}

function stateOf(questions: readonly ToldReason[], decision: 'open' | 'accepted' | 'rejected'): Chosen['state'] {
  if (questions.length === 0 || decision === 'accepted') return 'candidate';
  return decision === 'open' ? 'waiting' : 'rejected';
}

/**
 * Puts the livepatch and its fixes in the place of those before, or takes these away. One that is the same as before
 * stays, with its proof.
 */
async function keep(out: string, work: string, livepatch: Livepatch | undefined, fixes: readonly Fix[]): Promise<void> {
  const place = join(out, 'livepatch');
  const before = await readArtifact(place).catch(() => undefined);
  if (before !== undefined && before.livepatch.file?.sha256 === livepatch?.file?.sha256) {
    await rm(work, { recursive: true, force: true });
    return;
  }
  await rm(place, { recursive: true, force: true });
  await rm(join(out, 'fixes'), { recursive: true, force: true });
  if (livepatch === undefined) return;
  const store = new FixStore(out);
  const inside = new Set(livepatch.fixes.map(({ id }) => id));
  for (const fix of fixes) if (inside.has(fix.id)) await store.add(fix, true);
  await rename(work, place);
}

function reportedOf(
  { fix, files, key, state }: Chosen,
  dropped: readonly ToldReason[] | undefined,
  aside: string | undefined,
): ReportedFix {
  const inPart = partsOf(files);
  const known = { id: fix.id, paths: files.paths, inPart, ...(files.questions.length > 0 && { key }) };
  if (dropped !== undefined) return { ...known, state: 'refused', reasons: dropped };
  if (aside !== undefined) return { ...known, state: 'set-aside', reasons: [{ code: 'proof-failed', message: aside }] };
  return { ...known, state: state === 'candidate' ? 'livepatched' : state, reasons: files.questions };
}

function deadOf({ paths, parts, state, reasons }: DeadFix): ReportedFix {
  return { id: fixIdOf(paths), paths, inPart: partsOf({ paths, parts }), state, reasons };
}

function partsOf({ parts = {} }: FixFiles): string[] {
  return Object.keys(parts).sort();
}

function summaryOf({ id, module, objects, file }: Livepatch): UpdateReport['livepatch'] {
  const functions = objects.reduce((sum, object) => sum + object.functions.length, 0);
  return { id, module, objects: objects.length, functions, size: file?.size ?? 0 };
}
