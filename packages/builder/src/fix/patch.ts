import { BuilderError } from '../error.ts';

/** Bytes of a patch. */
export const PATCH_LIMIT = 4 << 20;

/** No line of the kernel's source is nearly as long; what reads patches need not cope with one that never ends. */
const LINE_LIMIT = 10_000;

/** What a patch does to one file, in the hunks of a unified diff and nothing around them. */
interface FileChange {
  readonly path: string;
  readonly lines: readonly string[];
}

/**
 * Files that a unified diff changes, relative to the tree (`-p1`). Refuses what could reach outside the tree, what makes, removes
 * or renames files, and binary changes.
 */
export function filesOfPatch(id: string, patch: string): string[] {
  return [...new Set(changesOf(id, patch).map(({ path }) => path))].sort();
}

/**
 * The patch as patch(1) is to see it: the hunks that were checked, with headers of our own. What lies between them in a file is for people, but
 * patch would look for further diffs in it, also of kinds that run a program (`ed`) or name other files (`Index:`).
 */
export function plainPatch(id: string, patch: string): string {
  return changesOf(id, patch)
    .map(({ path, lines }) => `--- a/${path}\n+++ b/${path}\n${lines.join('\n')}\n`)
    .join('');
}

function changesOf(id: string, patch: string): FileChange[] {
  if (patch.length > PATCH_LIMIT)
    throw new BuilderError('fix-garbage', `the patch of ${id} is larger than ${PATCH_LIMIT} bytes`);
  if (/^(?:GIT binary patch|Binary files .* differ)$/m.test(patch)) {
    throw new BuilderError('source-unsupported', `the patch of ${id} changes a binary file`);
  }
  const changes: FileChange[] = [];
  const lines = patch.replace(/\n$/, '').split('\n');
  const long = lines.findIndex((line) => line.length > LINE_LIMIT);
  if (long !== -1) {
    throw new BuilderError(
      'fix-garbage',
      `line ${long + 1} of the patch of ${id} has more than ${LINE_LIMIT} characters`,
    );
  }
  let inGitHeader = false;
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? '';
    const next = lines[at + 1] ?? '';
    if (line.startsWith('diff --git ')) inGitHeader = true;
    if (inGitHeader && /^(?:(?:rename|copy) (?:from|to)|(?:new|deleted) file mode) /.test(line)) {
      throw unsupported(id, (lines[at] ?? '').slice(0, 200));
    }
    if (!line.startsWith('--- ') || !next.startsWith('+++ ') || !(lines[at + 2] ?? '').startsWith('@@ ')) {
      at++;
      continue;
    }
    inGitHeader = false;
    const path = checkedPath(id, line, next);
    const start = at + 2;
    at = endOfHunks(id, lines, start);
    // Mail drops the space of an empty line of context.
    changes.push({ path, lines: lines.slice(start, at).map((text) => (text === '' ? ' ' : text)) });
  }
  if (changes.length === 0) {
    throw new BuilderError('fix-empty', `the patch of ${id} changes nothing: it has no hunk`, {
      hint: 'a unified diff is needed (diff -u, git format-patch)',
    });
  }
  return changes;
}

function checkedPath(id: string, oldHeader: string, newHeader: string): string {
  const from = pathOf(oldHeader);
  const to = pathOf(newHeader);
  if (from === '/dev/null' || to === '/dev/null' || strip(from) !== strip(to)) throw unsupported(id, strip(to));
  const path = strip(to);
  if (path === '' || path.startsWith('/') || path.split('/').includes('..') || /[^\w./+,@-]/.test(path)) {
    throw new BuilderError('fix-unsafe-path', `the patch of ${id} names the path "${to}"`, {
      hint: 'paths must be relative to the kernel tree, behind one component such as a/ and b/',
    });
  }
  return path;
}

function unsupported(id: string, what: string): BuilderError {
  return new BuilderError('source-unsupported', `the patch of ${id} creates, removes or renames a file (${what})`, {
    hint: 'only changes of existing files can be patched live',
  });
}

/** Index behind the last line of hunks that begin at `start`: each has as many lines as its header says. */
function endOfHunks(id: string, lines: readonly string[], start: number): number {
  let at = start;
  while (lines[at]?.startsWith('@@ ')) {
    const hunk = at++;
    let { before, after } = hunkSize(lines[hunk]);
    while (before > 0 || after > 0) {
      const kind = lines[at]?.[0] ?? (at < lines.length ? ' ' : '');
      if (kind === ' ' || kind === '-') before--;
      if (kind === ' ' || kind === '+') after--;
      if (before < 0 || after < 0 || kind === '' || !' -+\\'.includes(kind)) {
        const where = `the hunk at line ${hunk + 1} of the patch of ${id}`;
        throw new BuilderError('fix-garbage', `${where} does not have the lines it announces`);
      }
      at++;
    }
    // The mark that there is no line end at the end of the file.
    if (lines[at]?.startsWith('\\')) at++;
  }
  return at;
}

/** Lines of a hunk on either side; more than any file has where its header cannot be read. */
function hunkSize(header: string | undefined): { before: number; after: number } {
  const match = /^@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@/.exec(header ?? '');
  if (match === null) return { before: Number.POSITIVE_INFINITY, after: Number.POSITIVE_INFINITY };
  return { before: Number(match[1] ?? 1), after: Number(match[2] ?? 1) };
}

function pathOf(line: string): string {
  return (line.slice(4).split('\t')[0] ?? '').trim();
}

/** As `patch -p1` does. */
function strip(path: string): string {
  return path.slice(path.indexOf('/') + 1);
}
