import { BuilderError } from '../error.ts';
import { hunkSize } from '../fix/parse.ts';

/**
 * A hunk that lies elsewhere than its header says, in one place alone, and in another function than its header names.
 */
export interface MovedHunk {
  readonly path: string;
  /** Line of the hunk's header, without its end. */
  readonly header: string;
  /** Where the hunk begins in the text that it was applied to, 1-based. */
  readonly line: number;
  /** First line of the function there; empty in front of the first one. */
  readonly at: string;
}

/** A fix as it was applied; `back`: taken out, by `patch -R`. */
interface AppliedPatch {
  readonly id: string;
  readonly patch: string;
  readonly back?: boolean;
}

interface Hunk {
  readonly header: string;
  /** 1-based, in the text before the change. */
  readonly announced: number;
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** What git and `diff -p` write behind the second @@: the line in front of the hunk that a function begins with. */
  readonly heading: string;
}

interface Part {
  readonly path: string;
  readonly hunks: readonly Hunk[];
}

/** Git cuts the heading (xdiff/xemit.c: 80 bytes), so that only its beginning can be compared. */
const HEADING_LENGTH = 80;

/**
 * Checks where patch(1) put each hunk of a fix. Context may have moved, and the same lines may stand in several
 * functions (error paths, ioctl handlers): patch takes the nearest place, which is a guess. A hunk is accepted where
 * - it lies on the line that its header says, or
 * - no other place has its lines, or
 * - of all places this alone is in the function that its header names, or
 * - it has moved by as many lines as the hunk before or behind it, whose place is certain, or
 * - it is the only one between these.
 *
 * `said`: what patch prints in English, without `-s` (the sandbox sets no language). `before` and `after`: texts of the
 * files. Errors: `patch-ambiguous`, also where applying the hunks at these places does not give the text that patch
 * wrote.
 */
export function checkPlaces(
  { id, patch, back = false }: AppliedPatch,
  said: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): MovedHunk[] {
  const texts = new Map([...before].map(([path, text]) => [path, text.split('\n')]));
  const succeeded = placesSaid(said);
  const moved: MovedHunk[] = [];
  for (const [index, part] of partsOf(patch, back).entries()) {
    const lines = texts.get(part.path) ?? [];
    const placed = placeHunks(part, lines, succeeded[index] ?? new Map());
    assertCertain(id, part.path, placed);
    moved.push(...placed.flatMap((hunk) => inOtherFunction(part.path, hunk)));
    texts.set(part.path, applied(lines, placed));
  }
  for (const [path, lines] of texts) {
    // Whether the last line has an end is no question of place.
    if (withoutEnd(lines.join('\n')) === withoutEnd(after.get(path) ?? '')) continue;
    throw ambiguous(id, `patch(1) puts a hunk of ${path} elsewhere than it says`);
  }
  return moved;
}

interface Placed extends Hunk {
  /** 0-based index of its first line. */
  readonly at: number;
  /** Where it has moved: all places that have its lines, this one included, up to `MOST_PLACES`. */
  readonly candidates: readonly { readonly at: number; readonly function: string }[];
  /** First line of the function at its place; empty in front of the first one. */
  readonly function: string;
}

/** With so many places no function tells which one is meant, and a patch of many such hunks would take hours. */
const MOST_PLACES = 1000;

function placeHunks({ hunks }: Part, lines: readonly string[], succeeded: ReadonlyMap<number, number>): Placed[] {
  const headings = headingsOf(lines);
  let shift = 0;
  return hunks.map((hunk, index) => {
    // patch counts in the text that it writes.
    const said = succeeded.get(index + 1);
    const at = said === undefined ? hunk.announced - 1 : said - 1 - shift;
    shift += hunk.after.length - hunk.before.length;
    const places = isMoved({ ...hunk, at }) ? occurrences(lines, hunk.before) : [];
    const candidates = places.map((place) => ({ at: place, function: headings[place] ?? '' }));
    return { ...hunk, at, candidates, function: headings[at] ?? '' };
  });
}

function isMoved({ at, announced }: Pick<Placed, 'at' | 'announced'>): boolean {
  return at !== announced - 1;
}

function assertCertain(id: string, path: string, placed: readonly Placed[]): void {
  const isAlone = placed.map((hunk) => isOnlyPlace(hunk));
  for (const [index, hunk] of placed.entries()) {
    if (isAlone[index] || follows(placed, isAlone, index) || isAloneBetween(placed, isAlone, index)) continue;
    const places = hunk.candidates.map(({ at, function: name }) => `line ${at + 1}${name === '' ? '' : ` (${name})`}`);
    throw ambiguous(
      id,
      `the hunk "${hunk.header.slice(0, 120)}" of ${path} fits in ${hunk.candidates.length === MOST_PLACES ? `${MOST_PLACES} or more` : hunk.candidates.length} places, ${places.slice(0, 6).join(', ')}, and its header does not tell which`,
    );
  }
}

/** Whether what a hunk says of itself leaves no other place. */
function isOnlyPlace(hunk: Placed): boolean {
  const { at, candidates, heading } = hunk;
  if (!isMoved(hunk) || candidates.length <= 1) return true;
  const isKnown = heading !== '' && candidates.length < MOST_PLACES;
  const named = !isKnown ? [] : candidates.filter((place) => isHeading(place.function, heading));
  return named.length === 1 && named[0]?.at === at;
}

/** Whether a neighbour, whose place is certain, has moved by as many lines. */
function follows(placed: readonly Placed[], isCertain: readonly boolean[], index: number): boolean {
  const offset = (hunk: Placed | undefined): number | undefined =>
    hunk === undefined ? undefined : hunk.at + 1 - hunk.announced;
  const own = placed[index];
  return [index - 1, index + 1].some((other) => isCertain[other] === true && offset(placed[other]) === offset(own));
}

/**
 * Whether hunks, which stand in their order, leave one place: behind the one before it, in front of the next one whose
 * place is certain.
 */
function isAloneBetween(placed: readonly Placed[], isCertain: readonly boolean[], index: number): boolean {
  const from = isCertain[index - 1] === true ? endOf(placed[index - 1]) : 0;
  const to = isCertain[index + 1] === true ? (placed[index + 1]?.at ?? Infinity) : Infinity;
  const own = placed[index];
  const length = own?.before.length ?? 0;
  return own?.candidates.filter(({ at }) => at >= from && at + length <= to).length === 1;
}

function endOf(hunk: Placed | undefined): number {
  return hunk === undefined ? 0 : hunk.at + hunk.before.length;
}

/** A hunk that has moved, to the only place there is, though its header names another function and its lines none. */
function inOtherFunction(path: string, hunk: Placed): MovedHunk[] {
  const { at, heading, header, before, function: found } = hunk;
  if (!isMoved(hunk) || heading === '' || before.some(isFunctionLine) || isHeading(found, heading)) return [];
  return [{ path, header, line: at + 1, at: found }];
}

function applied(lines: readonly string[], placed: readonly Placed[]): string[] {
  const out: string[] = [];
  let next = 0;
  for (const { at, before, after } of placed) {
    out.push(...lines.slice(next, Math.max(next, at)), ...after);
    next = at + before.length;
  }
  return [...out, ...lines.slice(next)];
}

function withoutEnd(text: string): string {
  return text.replace(/\n$/, '');
}

function occurrences(lines: readonly string[], wanted: readonly string[]): number[] {
  const [first] = wanted;
  const found: number[] = [];
  if (first === undefined) return found;
  for (let at = lines.indexOf(first); at !== -1 && found.length < MOST_PLACES; at = lines.indexOf(first, at + 1)) {
    if (wanted.every((line, index) => lines[at + index] === line)) found.push(at);
  }
  return found;
}

/**
 * Of each line: the line in front of it that git would show for a hunk which begins there (xdiff/xemit.c; userdiff.c,
 * the driver "cpp").
 */
function headingsOf(lines: readonly string[]): string[] {
  let last = '';
  return lines.map((line) => {
    const heading = last;
    if (isFunctionLine(line)) last = line.trimEnd();
    return heading;
  });
}

function isFunctionLine(line: string): boolean {
  return /^[A-Za-z_$]/.test(line) && !/^\w+\s*:\s*(?:$|\/[/*])/.test(line);
}

function isHeading(line: string, heading: string): boolean {
  return line.slice(0, HEADING_LENGTH).startsWith(heading);
}

/**
 * What patch(1) says of hunks that are not where their headers say: for each part of the patch, line in the new text by
 * number.
 */
function placesSaid(said: string): Map<number, number>[] {
  const parts: Map<number, number>[] = [];
  for (const line of said.split('\n')) {
    if (line.startsWith('patching file ')) parts.push(new Map());
    const [, hunk, at] = /^Hunk #(\d+) succeeded at (\d+)/.exec(line) ?? [];
    if (hunk !== undefined && at !== undefined) parts.at(-1)?.set(Number(hunk), Number(at));
  }
  return parts;
}

/** Takes the patch of a fix apart, which has nothing but headers and counted hunks (`readPatch`). */
function partsOf(patch: string, back: boolean): Part[] {
  const parts: { path: string; hunks: Hunk[] }[] = [];
  const lines = patch.replace(/\n$/, '').split('\n');
  for (let at = 0; at < lines.length; ) {
    const header = lines[at] ?? '';
    const size = hunkSize(header);
    if (size === undefined) {
      if (header.startsWith('+++ ')) parts.push({ path: header.slice('+++ b/'.length), hunks: [] });
      at++;
      continue;
    }
    const [, oldStart = '1', newStart = '1', heading = ''] = /^@@ -(\d+)\S* \+(\d+)\S* @@ ?(.*)$/.exec(header) ?? [];
    const old: string[] = [];
    const fresh: string[] = [];
    at++;
    for (; old.length < size.before || fresh.length < size.after; at++) {
      const line = lines[at] ?? '';
      if (line.startsWith('\\')) continue;
      if (!line.startsWith('+')) old.push(line.slice(1));
      if (!line.startsWith('-')) fresh.push(line.slice(1));
    }
    const [before, after, announced] = back ? [fresh, old, newStart] : [old, fresh, oldStart];
    const named = isFunctionLine(heading) ? heading.trimEnd().slice(0, HEADING_LENGTH) : '';
    parts.at(-1)?.hunks.push({ header, announced: Number(announced), before, after, heading: named });
  }
  return parts;
}

function ambiguous(id: string, what: string): BuilderError {
  return new BuilderError('patch-ambiguous', `${id}: ${what}`, {
    hint: 'make the patch for this kernel’s source, with more lines around each change (git format-patch -U10)',
  });
}
