import type { Upload } from './changelog.ts';
import type { CveFacts } from './records.ts';

/** What is known of a kernel and an update of its source. */
export interface UpdateFacts {
  /** Files that both versions have and that differ, and files that only the later one has. */
  readonly changed: readonly string[];
  readonly added: readonly string[];
  /** Changed ones that this kernel is built from: C files that are linked, and texts that such a file includes. */
  readonly built: ReadonlySet<string>;
  /** Whether either version has a file. */
  readonly has: (path: string) => boolean;
  readonly uploads: readonly Upload[];
  readonly records: ReadonlyMap<string, CveFacts>;
}

/**
 * What becomes of a CVE that the changelog names. `files`: the update changes all files that its record names and this
 * source has, and this kernel is built from one at least. `not-built`: from none of them. `new-file`: the update brings
 * one of them, which no livepatch can. `unchanged`: the update does not change all of them, so that nothing says where
 * the fix is. `no-files`: the record names none that this source has. `no-record`: there is none.
 */
export type Attribution = 'files' | 'not-built' | 'new-file' | 'unchanged' | 'no-files' | 'no-record';

/** What each attribution means, of CVEs, in the order in which they are shown. */
export const ATTRIBUTIONS: Readonly<Record<Attribution, string>> = {
  files: 'the update changes all files of their records, and this kernel is built from one at least',
  'new-file': 'the update brings a new file, which no livepatch can',
  'not-built': 'in files that this kernel is not built from',
  unchanged: 'the update leaves a file of their records as it is: look for the fix by hand',
  'no-files': 'their records name no file that this source has',
  'no-record': 'no record was found: name more with --records',
};

export interface PlannedCve {
  readonly id: string;
  readonly title: string;
  /** The upload that names it first. */
  readonly version: string;
  readonly attribution: Attribution;
  /** Files of its record that this kernel is built from and the update changes. */
  readonly files: readonly string[];
  /** Files of its record that the update leaves as they are. */
  readonly unchanged: readonly string[];
  /** Files of its record that this source does not have: those of other branches. */
  readonly elsewhere: readonly string[];
}

/** A change that the update takes back. `within`: one that the update itself brings. */
export interface PlannedRevert {
  readonly title: string;
  readonly version: string;
  readonly within: boolean;
}

export interface UpdatePlan {
  readonly uploads: readonly {
    readonly version: string;
    readonly suite: string;
    readonly items: number;
    readonly cves: number;
  }[];
  readonly files: {
    readonly sources: { readonly changed: number; readonly built: number };
    readonly headers: { readonly changed: number; readonly built: number };
    readonly added: number;
  };
  readonly cves: readonly PlannedCve[];
  readonly reverts: readonly PlannedRevert[];
}

/** What an update changes for one kernel, and which of the flaws that its changelog names are in that kernel's code. */
export function planOf(facts: UpdateFacts): UpdatePlan {
  const { uploads, changed, added, built } = facts;
  const counted = (end: string) => {
    const files = changed.filter((path) => path.endsWith(end));
    return { changed: files.length, built: files.filter((path) => built.has(path)).length };
  };
  const oldestFirst = [...uploads].reverse();
  const cves = new Map<string, PlannedCve>();
  for (const { version, items } of oldestFirst)
    for (const { title, cves: ids } of items)
      for (const id of ids) if (!cves.has(id)) cves.set(id, plannedCve(facts, { id, title, version }));
  const titles = new Set(uploads.flatMap(({ items }) => items.map(({ title }) => title)));
  const reverts = oldestFirst.flatMap(({ version, items }) =>
    items.flatMap(({ reverts: title }) => (title === undefined ? [] : [{ title, version, within: titles.has(title) }])),
  );
  return {
    uploads: uploads.map(({ version, suite, items }) => ({
      version,
      suite,
      items: items.length,
      cves: new Set(items.flatMap((item) => item.cves)).size,
    })),
    files: { sources: counted('.c'), headers: counted('.h'), added: added.length },
    cves: [...cves.values()],
    reverts,
  };
}

function plannedCve(
  { changed, added, built, has, records }: UpdateFacts,
  named: Pick<PlannedCve, 'id' | 'title' | 'version'>,
): PlannedCve {
  const record = records.get(named.id);
  const known = (record?.files ?? []).filter(has);
  const elsewhere = (record?.files ?? []).filter((path) => !has(path));
  const files = known.filter((path) => built.has(path));
  const unchanged = known.filter((path) => !changed.includes(path) && !added.includes(path));
  const attribution = ((): Attribution => {
    if (record === undefined) return 'no-record';
    if (known.length === 0) return 'no-files';
    if (known.some((path) => added.includes(path))) return 'new-file';
    if (unchanged.length > 0) return 'unchanged';
    return files.length === 0 ? 'not-built' : 'files';
  })();
  return { ...named, attribution, files, unchanged, elsewhere };
}
