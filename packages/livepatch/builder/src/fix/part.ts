import { entitiesOf } from '../source/entities.ts';

/** Names whose definitions alone are taken of a header's change, by the header's path. */
export type HeaderParts = Readonly<Record<string, readonly string[]>>;

/** A run of changed lines between two texts: `[start, end)` of each, counted from 0. */
export interface LineChange {
  readonly before: readonly [start: number, end: number];
  readonly after: readonly [start: number, end: number];
}

/** Lines of one definition, comments in front of it included. */
interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly names: ReadonlySet<string>;
}

/** Changed lines that stand or fall together. */
interface Piece {
  readonly names: ReadonlySet<string>;
  readonly old: readonly string[];
  readonly fresh: readonly string[];
}

const CONDITION = /^\s*#\s*(?:if|ifdef|ifndef|elif|else|endif)\b/;

/** Hunks of `diff -U0`. */
export function lineChanges(diff: string): LineChange[] {
  return [...diff.matchAll(/^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/gm)].map(([, a, b, c, d]) => ({
    before: range(a, b),
    after: range(c, d),
  }));
}

/** Where a side has no line, diff gives the one in front of it. */
function range(start = '0', count = '1'): [number, number] {
  const first = Number(count) === 0 ? Number(start) : Number(start) - 1;
  return [first, first + Number(count)];
}

/**
 * A header with that part of its change alone which adds, alters or removes definitions of `names`. For example: of a
 * change that turns the function `tcp_sk` into a macro and adds the macro `tcp_sk_rw`, only the latter. Lines that
 * `#if` and the like are changed among stay together, since what they hold would otherwise come under another
 * condition.
 */
export function partOf(
  before: string,
  after: string,
  changes: readonly LineChange[],
  names: ReadonlySet<string>,
): string {
  const [oldLines, newLines] = [before.split('\n'), after.split('\n')];
  const [oldChunks, newChunks] = [chunksOf(oldLines), chunksOf(newLines)];
  const lines: string[] = [];
  let at = 0;
  for (const change of changes) {
    lines.push(...oldLines.slice(at, change.before[0]));
    at = change.before[1];
    const old = slices(oldLines, oldChunks, change.before);
    const fresh = slices(newLines, newChunks, change.after);
    const conditions = [...old, ...fresh].some(({ lines, whole }) => whole && lines.some((it) => CONDITION.test(it)));
    const pieces = conditions ? [together(old, fresh)] : paired(old, fresh);
    for (const piece of pieces)
      lines.push(...([...piece.names].some((name) => names.has(name)) ? piece.fresh : piece.old));
  }
  lines.push(...oldLines.slice(at));
  return lines.join('\n');
}

interface Slice {
  readonly names: ReadonlySet<string>;
  readonly lines: readonly string[];
  /**
   * All lines of the definition: a condition among others lies inside the definition, as around a member of a struct.
   */
  readonly whole: boolean;
}

function slices(lines: readonly string[], chunks: readonly Chunk[], [start, end]: LineChange['before']): Slice[] {
  return chunks
    .filter((chunk) => chunk.start < end && chunk.end > start)
    .map((chunk) => ({
      names: chunk.names,
      lines: lines.slice(Math.max(start, chunk.start), Math.min(end, chunk.end)),
      whole: chunk.start >= start && chunk.end <= end,
    }));
}

function together(old: readonly Slice[], fresh: readonly Slice[]): Piece {
  return {
    names: new Set([...old, ...fresh].flatMap(({ names }) => [...names])),
    old: old.flatMap(({ lines }) => lines),
    fresh: fresh.flatMap(({ lines }) => lines),
  };
}

/**
 * Old and new lines of one definition become a piece; what only one side has is one of its own, in the order of the
 * text after the change.
 */
function paired(old: readonly Slice[], fresh: readonly Slice[]): Piece[] {
  const pieces: Piece[] = [];
  let next = 0;
  for (const slice of old) {
    const partner = fresh.findIndex(
      ({ names }, index) => index >= next && [...names].some((name) => slice.names.has(name)),
    );
    if (partner === -1) {
      pieces.push(together([slice], []));
      continue;
    }
    pieces.push(...fresh.slice(next, partner).map((added) => together([], [added])));
    pieces.push(together([slice], fresh.slice(partner, partner + 1)));
    next = partner + 1;
  }
  return [...pieces, ...fresh.slice(next).map((added) => together([], [added]))];
}

/** A text's lines by definition. Empty lines and comments belong to what follows them. */
function chunksOf(lines: readonly string[]): Chunk[] {
  const chunks: Chunk[] = [];
  let start = 0;
  let depth = 0;
  let isComment = false;
  let hasCode = false;
  lines.forEach((line, index) => {
    const isDirective = depth === 0 && !isComment && !hasCode && /^\s*#/.test(line);
    const read = withoutComments(line, isComment);
    isComment = read.isComment;
    const continues = line.endsWith('\\');
    if (isDirective || hasCode || read.code.trim() !== '') hasCode = true;
    for (const mark of read.code) {
      if (mark === '{' || mark === '(') depth++;
      else if (mark === '}' || mark === ')') depth = Math.max(0, depth - 1);
    }
    const isMacro = hasCode && /^\s*#/.test(lines.slice(start, index + 1).find(isCode) ?? '');
    const ends = isMacro ? !continues : depth === 0 && /[;}]\s*$/.test(read.code);
    if (!hasCode || !ends || isComment) return;
    if (isMacro) depth = 0;
    chunks.push({ start, end: index + 1, names: namesOf(lines.slice(start, index + 1)) });
    start = index + 1;
    hasCode = false;
  });
  if (start < lines.length) chunks.push({ start, end: lines.length, names: namesOf(lines.slice(start)) });
  return chunks;
}

/** The first line of a definition itself: not empty, and not of a comment as the kernel writes them. */
function isCode(line: string): boolean {
  return line.trim() !== '' && !/^\s*(?:\/\*|\*|\/\/)/.test(line);
}

function namesOf(lines: readonly string[]): ReadonlySet<string> {
  return new Set(entitiesOf(lines.join('\n')).keys());
}

/** One line's code, strings and characters emptied. */
function withoutComments(line: string, startsInComment: boolean): { code: string; isComment: boolean } {
  let text = line;
  if (startsInComment) {
    const end = text.indexOf('*/');
    if (end === -1) return { code: '', isComment: true };
    text = text.slice(end + 2);
  }
  const code = text.replaceAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\/\*.*?\*\/|\/\/.*$/g, (found) =>
    found.startsWith('/') ? ' ' : '""',
  );
  const open = code.indexOf('/*');
  return open === -1 ? { code, isComment: false } : { code: code.slice(0, open), isComment: true };
}
