import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { errorText, KmendError } from '@kmend/base';
import { exists } from '@kmend/base/node';
import { compareVersions, type Kernel, sourceDelta, sourcePackageOf } from '@kmend/kernel';
import { type CveFacts, planOf, type RecordFault, readRecord, type UpdatePlan, uploadsBetween } from '@kmend/update';
import type { Workshop } from '../workshop.ts';

export type UpdateErrorCode =
  | 'update-own-kernel'
  | 'update-version'
  | 'update-path'
  | 'update-nothing'
  | 'update-not-built'
  | 'records-unreadable';

export class UpdateError extends KmendError<UpdateErrorCode> {}

/** A plan with what it was made from. */
export interface PlannedUpdate extends UpdatePlan {
  readonly kernel: string;
  readonly suite: string;
  readonly from: string;
  readonly to: string;
  readonly records: ReadRecords['counts'];
}

interface ReadRecords {
  readonly found: ReadonlyMap<string, CveFacts>;
  /** `used`: of CVEs that the changelog names. The others: by why they were not used. */
  readonly counts: { readonly used: number } & Readonly<Partial<Record<RecordFault, number>>>;
}

/** One record has some ten kilobytes; the largest of the kernel's, with hundreds of versions, one hundred. */
const RECORD_LIMIT = 4 << 20;
const LINES_LIMIT = 256 << 20;
/** Folders in folders: vulns.git has them by year, the public list by year and thousand. */
const DEEPEST = 6;

export interface PlanOrder {
  /** Version of the update; default: the suite's newest. */
  readonly to?: string | undefined;
  /** Files and folders of CVE records. */
  readonly records: readonly string[];
}

/** A plan, and the files that it counts. */
export interface SurveyedUpdate {
  readonly plan: PlannedUpdate;
  /** Files that the update changes and this kernel is built from. */
  readonly built: readonly string[];
}

/** What an update of the distribution changes for one kernel, from the version that the kernel was built from on. */
export async function planUpdate(workshop: Workshop, kernel: Kernel, order: PlanOrder): Promise<PlannedUpdate> {
  return (await surveyUpdate(workshop, kernel, order)).plan;
}

export async function surveyUpdate(
  workshop: Workshop,
  kernel: Kernel,
  { to: wanted, records }: PlanOrder,
): Promise<SurveyedUpdate> {
  const { edges, sources } = workshop;
  const { suite, version: from } = kernel;
  if (kernel.local !== undefined) {
    throw new UpdateError('update-own-kernel', `${kernel.release} is your own kernel: no distribution updates it`, {
      hint: 'kmend update is for kernels that kmend kernel add has fetched',
    });
  }
  const to = wanted ?? (await sources.newest(suite, from));
  if (sourcePackageOf(to) !== sourcePackageOf(from) || compareVersions(to, from) < 0) {
    throw new UpdateError('update-version', `${to} is no later version of the series of ${from}`, {
      hint: 'name a later version of the same series with --to, or none for the newest',
    });
  }
  const uploads = to === from ? [] : uploadsBetween(await sources.changelog(suite, to), from, to);
  if (to !== from && uploads[0]?.version !== to) {
    throw new UpdateError('update-version', `the changelog of ${to} does not name that version`, {
      hint: 'the package is damaged, or is not the kernel of Debian',
    });
  }
  const ids = new Set(uploads.flatMap(({ items }) => items.flatMap(({ cves }) => cves)));
  const { found, counts } = await readRecords(records, ids, edges.signal);
  const delta = to === from ? { changed: [], added: [] } : await sourceDelta(edges, sources, { suite, from, to });
  const builder = await workshop.builder(kernel);
  const present = new Set([...delta.changed, ...delta.added]);
  for (const path of [...found.values()].flatMap(({ files }) => files))
    if (await exists(join(builder.sourceTree, path))) present.add(path);
  edges.progress.step(`find which of ${delta.changed.length} changed files ${kernel.release} is built from`);
  const built = await builder.builtFrom(delta.changed);
  const plan = planOf({ ...delta, built, has: (path) => present.has(path), uploads, records: found });
  const known = { kernel: kernel.release, suite, from, to, records: counts };
  return { plan: { ...known, ...plan }, built: delta.changed.filter((path) => built.has(path)) };
}

/**
 * Records of the CVEs that are wanted: files of the name of one (`CVE-2026-1.json`, below folders), and all lines of
 * `.jsonl` files.
 */
async function readRecords(
  paths: readonly string[],
  wanted: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<ReadRecords> {
  const found = new Map<string, CveFacts>();
  const counts: { used: number } & Partial<Record<RecordFault, number>> = { used: 0 };
  const take = (text: string): void => {
    const record = readRecord(text);
    if (typeof record === 'string') counts[record] = (counts[record] ?? 0) + 1;
    else if (wanted.has(record.id)) {
      found.set(record.id, record);
      counts.used = found.size;
    }
  };
  const visit = async (path: string, depth: number): Promise<void> => {
    signal.throwIfAborted();
    const entry = await stat(path);
    if (entry.isDirectory()) {
      if (depth < DEEPEST) for (const name of (await readdir(path)).sort()) await visit(join(path, name), depth + 1);
    } else if (extname(path) === '.jsonl') {
      if (entry.size > LINES_LIMIT) throw new Error(`${path} has ${entry.size} bytes`);
      for (const line of (await readFile(path, 'utf8')).split('\n')) if (line.trim() !== '') take(line);
    } else if (depth === 0 || wanted.has(basename(path, extname(path)))) {
      if (entry.size > RECORD_LIMIT) throw new Error(`${path} has ${entry.size} bytes`);
      take(await readFile(path, 'utf8'));
    }
  };
  for (const path of paths) {
    await visit(path, 0).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new UpdateError('records-unreadable', `the CVE records in ${path} cannot be read: ${errorText(error)}`, {
        hint: 'name a file or a folder of records in the CVE JSON format with --records',
      });
    });
  }
  return { found, counts };
}
