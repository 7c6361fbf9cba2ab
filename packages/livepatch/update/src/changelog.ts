import { compareVersions } from '@kmend/kernel';

/** One upload of the kernel, as `changelog.Debian` has it (Debian policy, "debian/changelog"). */
export interface Upload {
  readonly version: string;
  /** `trixie-security`. */
  readonly suite: string;
  readonly items: readonly ChangelogItem[];
}

/** A change that an upload names: mostly the title of a commit upstream. */
export interface ChangelogItem {
  readonly title: string;
  /** CVE names that the changelog gives for it; Debian does not fill them in later. */
  readonly cves: readonly string[];
  /** Architectures that it is for alone, `amd64` or `x86`; empty: all. */
  readonly architectures: readonly string[];
  /** The title of the change that it takes back. */
  readonly reverts?: string;
}

const HEADING = /^linux \(([^)\s]+)\) ([\w.-]+)[ \w.-]*;/;
const CVE = /CVE-\d{4}-\d{4,}/g;
/** Debian 13's changelog has 2 MB. */
const TEXT_LIMIT = 64 << 20;

/**
 * The uploads behind `from` up to `to`, newest first, as a changelog has them; none where the text is no changelog of
 * the kernel.
 */
export function uploadsBetween(text: string, from: string, to: string): Upload[] {
  const uploads: { readonly version: string; readonly suite: string; readonly lines: string[] }[] = [];
  for (const line of text.slice(0, TEXT_LIMIT).split('\n')) {
    const [, version, suite = ''] = HEADING.exec(line) ?? [];
    if (version !== undefined) uploads.push({ version, suite, lines: [] });
    else uploads.at(-1)?.lines.push(line);
  }
  return uploads
    .filter(({ version }) => compareVersions(version, from) > 0 && compareVersions(version, to) <= 0)
    .map(({ version, suite, lines }) => ({ version, suite, items: itemsOf(lines) }));
}

/**
 * Items begin with `*` at two spaces or `-` at four, and go on at deeper ones. Headings of items (`New upstream stable
 * update:`, names of people in brackets) are none.
 */
function itemsOf(lines: readonly string[]): ChangelogItem[] {
  const texts: string[] = [];
  for (const line of lines) {
    const [, begun] = /^ {2,4}[*-] (.*)$/.exec(line) ?? [];
    if (begun !== undefined) texts.push(begun);
    else if (/^ {4,}\S/.test(line) && texts.length > 0) texts.push(`${texts.pop() ?? ''} ${line.trim()}`);
  }
  return texts.flatMap((text) => (/^New upstream|:$|:\s+https?:\S+$/.test(text) ? [] : itemOf(text)));
}

function itemOf(text: string): ChangelogItem {
  const cves = [...new Set(text.match(CVE) ?? [])];
  const [, brackets = ''] = /^((?:\[[^\]]*\] ?)+)/.exec(text) ?? [];
  const architectures = [...brackets.matchAll(/\[([^\]]*)\]/g)].flatMap(([, names = '']) => names.split(/[,\s]+/));
  const title = text
    .slice(brackets.length)
    .replace(/\s*\((?:[^()]*\bCVE-[^()]*)\)\s*$/, '')
    .trim();
  const [, reverts] = /^Revert "(.+)"$/.exec(title) ?? [];
  return { title, cves, architectures, ...(reverts === undefined ? {} : { reverts }) };
}
