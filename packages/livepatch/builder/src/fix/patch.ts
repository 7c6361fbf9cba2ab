import { BuilderError } from '../error.ts';
import { type FilePart, hunkSize, PatchParser } from './parse.ts';
import { changesHelpOnly, isBuildFile, isChosen, type LeftOut, type LeftOutReason, outsideKernel } from './scope.ts';

/** Bytes of a patch. */
export const PATCH_LIMIT = 4 << 20;

/** No line of the kernel's source is nearly as long; what reads patches need not cope with one that never ends. */
const LINE_LIMIT = 10_000;

/** U+FFFD in UTF-8, a byte a character: what programs write in place of a byte that they do not understand. */
const REPLACED = '\xEF\xBF\xBD';

/** How packed files begin, and what unpacks them. */
const PACKED: readonly (readonly [start: string, command: string])[] = [
  ['\x1F\x8B', 'gunzip'],
  ['\xFD7zXZ\0', 'unxz'],
  ['(\xB5/\xFD', 'unzstd'],
  ['BZh', 'bunzip2'],
];

/** What a patch changes of a kernel's source. */
export interface PatchContent {
  /**
   * The hunks alone, behind headers of our own (`--- a/PATH`), one character a byte: as patch(1) is to see it. What
   * lies between hunks in a file is for people, but patch would look for further diffs in it, also of kinds that run a
   * program (`ed`) or name other files (`Index:`).
   */
  readonly patch: string;
  /** Paths relative to the tree, sorted. */
  readonly files: readonly string[];
  readonly leftOut: readonly LeftOut[];
  /** What was done to the text to read it, for people. */
  readonly notes: readonly string[];
}

/**
 * Reads a patch file's text: one character a byte (latin1), as all text of sources. `chosen`: files and folders to
 * limit it to. Errors: `fix-garbage` with the line for what is not certain to be read as it is meant,
 * `fix-unsafe-path`, `source-unsupported` for what cannot be patched live, `fix-empty`.
 */
export function readPatch(id: string, text: string, chosen?: readonly string[]): PatchContent {
  const { lines, notes } = linesOf(id, text);
  const parts = new PatchParser(id, lines).parse();
  if (parts.length === 0) {
    throw new BuilderError('fix-empty', `the patch of ${id} changes nothing: it has no hunk`, {
      hint: 'a unified diff is needed (diff -u, git format-patch)',
    });
  }
  for (const choice of chosen ?? []) {
    if (parts.some(({ paths }) => paths.some((path) => isChosen(path, [choice])))) continue;
    throw new BuilderError('fix-empty', `the patch of ${id} does not change ${choice}, which --path names`, {
      hint: `it changes ${listed(parts.flatMap(({ paths }) => paths))}`,
    });
  }
  const leftOut: LeftOut[] = [];
  const kept: FilePart[] = [];
  for (const part of parts) {
    const why = whyLeftOut(part, chosen);
    if (why === undefined) kept.push(part);
    else leftOut.push(...part.paths.map((path) => ({ path, why })));
  }
  assertSupported(id, kept);
  if (kept.length === 0) {
    const files = leftOut.map(({ path, why }) => `${path} (${why})`);
    throw new BuilderError('fix-empty', `nothing of the patch of ${id} is code of a kernel: ${listed(files)}`, {
      hint: 'there is nothing to patch live',
    });
  }
  for (const { paths } of kept) for (const path of paths) assertPlainPath(id, path);
  assertContext(id, kept);
  assertBytesKept(id, kept);
  return {
    patch: kept.map(({ paths: [path = ''], hunks }) => `--- a/${path}\n+++ b/${path}\n${hunks.join('\n')}\n`).join(''),
    files: [...new Set(kept.flatMap(({ paths }) => paths))].sort(),
    leftOut: distinct(leftOut),
    notes,
  };
}

/** Lines without their ends. */
function linesOf(id: string, whole: string): { lines: string[]; notes: string[] } {
  const garbage = (what: string, hint: string): BuilderError => new BuilderError('fix-garbage', what, { hint });
  if (whole.length > PATCH_LIMIT) {
    throw garbage(
      `the patch of ${id} is larger than ${PATCH_LIMIT} bytes`,
      'a livepatch takes single fixes, not series',
    );
  }
  // The caller's mistake: such a text was decoded, and cannot be written as the bytes that it was.
  if (/[^\0-\xFF]/.test(whole)) throw new RangeError('a patch has one character a byte');
  const notes: string[] = [];
  const marked = whole.startsWith('\xEF\xBB\xBF');
  if (marked) notes.push('a byte order mark in front of the patch was taken off');
  const text = marked ? whole.slice(3) : whole;
  const packed = PACKED.find(([start]) => whole.startsWith(start));
  if (packed !== undefined) {
    throw garbage(`the patch of ${id} is compressed`, `unpack it first: ${packed[1]}`);
  }
  let lines = text.replace(/\n$/, '').split('\n');
  const at = (index: number): string => `line ${index + 1} of the patch of ${id}`;
  const nul = lines.findIndex((line) => line.includes('\0'));
  if (nul !== -1) {
    throw garbage(
      `${at(nul)} has a NUL byte`,
      'the file is damaged, or UTF-16: save it as plain text (iconv -f UTF-16)',
    );
  }
  const long = lines.findIndex((line) => line.length > LINE_LIMIT);
  if (long !== -1) {
    throw garbage(`${at(long)} has more than ${LINE_LIMIT} characters`, 'no line of a kernel source is as long');
  }
  const returned = lines.findIndex((line) => line.endsWith('\r'));
  if (returned !== -1) {
    // The last line may have lost its end altogether.
    const plain = lines.findIndex(
      (line, index) => !line.endsWith('\r') && (index < lines.length - 1 || text.endsWith('\n')),
    );
    if (plain !== -1) {
      throw garbage(
        `${at(returned)} ends with CR LF, line ${plain + 1} with LF alone`,
        'no file of the kernel has CR LF: convert the whole patch (dos2unix), or get it again',
      );
    }
    notes.push('the patch has CR LF at the end of every line: read as LF, as the kernel has');
    lines = lines.map((line) => line.replace(/\r$/, ''));
  }
  return { lines, notes };
}

function whyLeftOut(
  { kind, paths, hunks }: FilePart,
  chosen: readonly string[] | undefined,
): LeftOutReason | undefined {
  if (chosen !== undefined && !paths.some((path) => isChosen(path, chosen))) return 'not-chosen';
  const reasons = paths.map(outsideKernel);
  if (reasons.length > 0 && reasons.every((reason) => reason !== undefined)) return reasons[0];
  if (kind === 'mode') return 'mode-only';
  return kind === 'changed' && paths.every((path) => changesHelpOnly(path, hunks)) ? 'help-text' : undefined;
}

const VERBS: Readonly<Record<FilePart['kind'], string>> = {
  changed: 'changes what the kernel is built from in',
  created: 'creates',
  removed: 'removes',
  renamed: 'renames or copies',
  binary: 'changes the binary file',
  mode: '',
};

/** All that cannot be patched live is named at once. */
function assertSupported(id: string, parts: readonly FilePart[]): void {
  const refused = parts.filter(({ kind, paths }) => kind !== 'changed' || paths.some(isBuildFile));
  if (refused.length === 0) return;
  const what = refused.map(({ kind, paths }) => `${VERBS[kind]} ${paths.join(' -> ') || '(without a name)'}`);
  const isHelp = refused.some(({ paths }) => paths.some((path) => /(?:^|\/)Kconfig/.test(path)));
  throw new BuilderError('source-unsupported', `the patch of ${id} ${listed(what)}`, {
    hint: `only changes of existing C files and headers can be patched live; if the others stand alone, choose them with --path${
      isHelp ? ' (Kconfig is left out where each hunk shows that it changes help text alone)' : ''
    }`,
  });
}

function assertPlainPath(id: string, path: string): void {
  if (!/[^\w./+,@-]/.test(path)) return;
  throw new BuilderError('fix-unsafe-path', `the patch of ${id} names the path "${path.slice(0, 200)}"`, {
    hint: 'paths must be relative to the kernel tree, behind one component such as a/ and b/',
  });
}

/**
 * Lines alone that are added, with nothing of the file around them, would go to a place that nothing shows to be right.
 */
function assertContext(id: string, parts: readonly FilePart[]): void {
  for (const { paths, hunks, line } of parts) {
    const bare = hunks.findIndex((text) => text.startsWith('@@ ') && hunkSize(text)?.before === 0);
    if (bare === -1) continue;
    const where = `line ${line + bare} of the patch of ${id}`;
    throw new BuilderError('fix-garbage', `${where}: the hunk has no line of ${listed(paths)} around what it adds`, {
      hint: 'make the patch with lines of context: git diff -U3, diff -U3',
    });
  }
}

/**
 * No C file or header of the kernel has the character; where a patch adds it, another program has put it in place of a
 * byte.
 */
function assertBytesKept(id: string, parts: readonly FilePart[]): void {
  for (const { paths, hunks } of parts) {
    if (!hunks.some((line) => line.startsWith('+') && line.includes(REPLACED))) continue;
    throw new BuilderError(
      'fix-garbage',
      `the patch of ${id} adds U+FFFD to ${listed(paths)}: a byte was lost on the way`,
      {
        hint: 'get the patch again from where it comes, or import it again, without a program that converts its text',
      },
    );
  }
}

function listed(all: readonly string[]): string {
  const shown = all
    .slice(0, 8)
    .map((text) => text.slice(0, 200))
    .join(', ');
  return all.length > 8 ? `${shown} and ${all.length - 8} more` : shown;
}

function distinct(leftOut: readonly LeftOut[]): LeftOut[] {
  return [...new Map(leftOut.map((entry) => [entry.path, entry])).values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
