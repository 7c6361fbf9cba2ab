import { BuilderError } from '../error.ts';
import { lookAtText, looksLikeChange, type TextArea } from './garbage.ts';
import { fileOfNames, nameInHeader } from './paths.ts';

/** What a patch does to a file. `mode`: only its access rights. */
export type PartKind = 'changed' | 'created' | 'removed' | 'renamed' | 'binary' | 'mode';

/** One file of a patch: what stands behind one header. */
export interface FilePart {
  readonly kind: PartKind;
  /** Relative to the tree; two where a file is renamed or copied. */
  readonly paths: readonly string[];
  /** Hunk headers and their lines, one character a byte, without the ends of lines. */
  readonly hunks: readonly string[];
  /** Number of the line with the first hunk's header, or with what tells of the file where it has none. */
  readonly line: number;
}

/** What `diff --git` or `Index:` begins, until the hunks are read. */
interface Header {
  readonly line: number;
  readonly paths: readonly string[];
  kind: PartKind | undefined;
}

const EXTENDED: readonly (readonly [RegExp, PartKind | undefined])[] = [
  [/^new file mode /, 'created'],
  [/^deleted file mode /, 'removed'],
  [/^(?:rename|copy) (?:from|to) /, 'renamed'],
  [/^(?:old|new) mode /, 'mode'],
  [/^(?:similarity index|dissimilarity index|index) /, undefined],
];

/**
 * Takes a patch file apart: one or several unified diffs, as git, diff, quilt and Subversion write them, alone or in
 * mails. Every line that looks like part of a change must be in a hunk that its header counts, or the patch is
 * `fix-garbage`: text is only what cannot be taken for one.
 */
export class PatchParser {
  readonly #id: string;
  readonly #lines: readonly string[];
  readonly #parts: FilePart[] = [];
  #area: TextArea = 'remark';
  #header: Header | undefined;

  /** `lines`: without their ends. `id`: of the fix, for messages. */
  constructor(id: string, lines: readonly string[]) {
    this.#id = id;
    this.#lines = lines;
  }

  parse(): FilePart[] {
    for (let at = 0; at < this.#lines.length; ) at = this.#next(at);
    this.#close();
    return this.#parts;
  }

  /** Reads what begins at a line; the index behind it. */
  #next(at: number): number {
    const line = this.#lines[at] ?? '';
    const following = this.#lines[at + 1] ?? '';
    if (/^(?:diff --(?:cc|combined) |@@@)/.test(line)) {
      throw this.#garbage(at, 'a combined diff, as git shows merges, is not read', {
        hint: 'take the change against one parent: git diff-tree -p COMMIT^1 COMMIT, or git show --first-parent',
      });
    }
    if (line.startsWith('diff --git ')) {
      this.#open(at, this.#gitPaths(line, at));
      return at + 1;
    }
    if (line.startsWith('Index: ') && following.startsWith('====')) {
      this.#open(at, []);
      return at + 2;
    }
    const extended = this.#header === undefined ? undefined : EXTENDED.find(([pattern]) => pattern.test(line));
    if (this.#header !== undefined && extended !== undefined) {
      // A mode beside anything else says nothing more.
      if (extended[1] !== 'mode' || this.#header.kind === undefined)
        this.#header.kind = extended[1] ?? this.#header.kind;
      return at + 1;
    }
    if (line.startsWith('--- ') && following.startsWith('+++ ')) return this.#file(at);
    if (this.#special(line, at)) return at + 1;
    this.#text(line, at);
    return at + 1;
  }

  #open(at: number, paths: readonly string[]): void {
    this.#close();
    this.#header = { line: at, paths, kind: undefined };
    this.#area = 'diff';
  }

  /** A header ends: with no hunks behind it, it must say itself what happens to the file. */
  #close(): void {
    const header = this.#header;
    this.#header = undefined;
    if (header === undefined) return;
    if (header.kind === undefined) throw this.#garbage(header.line, 'no hunk follows this header of a file');
    this.#parts.push({ kind: header.kind, paths: header.paths, hunks: [], line: header.line + 1 });
  }

  /** Files that diff tells of in words. */
  #special(line: string, at: number): boolean {
    const [, one, other] = /^(?:Binary files|Files) (\S+) and (\S+) differ$/.exec(line) ?? [];
    if (line === 'GIT binary patch' || (one !== undefined && this.#header !== undefined)) {
      if (this.#header === undefined) this.#parts.push({ kind: 'binary', paths: [], hunks: [], line: at + 1 });
      else this.#header.kind ??= 'binary';
    } else if (one !== undefined && other !== undefined) {
      const names = [one, other].map((name) => (name === '/dev/null' ? undefined : name));
      this.#parts.push({ kind: 'binary', paths: this.#paths(names[0], names[1], at), hunks: [], line: at + 1 });
    } else {
      const [, folder, name] = /^Only in (\S+): (\S+)$/.exec(line) ?? [];
      if (folder === undefined || name === undefined) return false;
      const path = `${folder}/${name}`;
      this.#parts.push({ kind: 'created', paths: this.#paths(undefined, path, at), hunks: [], line: at + 1 });
    }
    this.#area = 'diff';
    return true;
  }

  #file(at: number): number {
    if (!(this.#lines[at + 2] ?? '').startsWith('@@ ')) {
      throw this.#garbage(at, 'no hunk of a unified diff follows this header of a file');
    }
    const [from, to] = [nameInHeader(this.#lines[at] ?? ''), nameInHeader(this.#lines[at + 1] ?? '')];
    const paths = this.#paths(from, to, at);
    // A header that says all by itself may end right in front of another file.
    if (this.#header?.kind !== undefined && !isOf(this.#header, paths)) this.#close();
    const header = this.#header;
    this.#header = undefined;
    this.#area = 'diff';
    if (header !== undefined && !isOf(header, paths)) {
      throw this.#garbage(at, `this header names ${paths.join(', ')}, the one before it ${header.paths.join(', ')}`);
    }
    const start = at + 2;
    const end = this.#endOfHunks(start);
    // Mail drops the space of an empty line of context.
    const hunks = this.#lines.slice(start, end).map((text) => (text === '' ? ' ' : text));
    const kind = this.#kindOf(header, paths, from, to, hunks);
    this.#parts.push({ kind, paths, hunks, line: start + 1 });
    return end;
  }

  #kindOf(
    header: Header | undefined,
    paths: readonly string[],
    from: string | undefined,
    to: string | undefined,
    hunks: readonly string[],
  ): PartKind {
    const said = header?.kind;
    if (said !== undefined && said !== 'mode') return said;
    if (paths.length > 1) return 'renamed';
    const [first = ''] = hunks;
    // diff -N gives both sides the name; only git says what is meant.
    const isSaid = (header?.paths.length ?? 0) > 0;
    if (from === undefined || (!isSaid && /^@@ -0,0 /.test(first))) return 'created';
    if (to === undefined || (!isSaid && /^@@ -\S+ \+0,0 /.test(first))) return 'removed';
    return 'changed';
  }

  /** Index behind the last line of hunks that begin at `start`: each has as many lines as its header says. */
  #endOfHunks(start: number): number {
    let at = start;
    while (this.#lines[at]?.startsWith('@@ ')) {
      const hunk = at++;
      const size = hunkSize(this.#lines[hunk] ?? '');
      if (size === undefined) throw this.#garbage(hunk, 'this header of a hunk cannot be read');
      let { before, after } = size;
      while (before > 0 || after > 0) {
        const kind = this.#lines[at]?.[0] ?? (at < this.#lines.length ? ' ' : '');
        if (kind === ' ' || kind === '-') before--;
        if (kind === ' ' || kind === '+') after--;
        if (before < 0 || after < 0 || kind === '' || !' -+\\'.includes(kind)) {
          throw this.#garbage(hunk, `the hunk does not have the lines it announces: see line ${at + 1}`);
        }
        at++;
      }
      // The mark that there is no line end at the end of the file.
      if (this.#lines[at]?.startsWith('\\')) at++;
    }
    return at;
  }

  /** A line outside of any hunk. */
  #text(line: string, at: number): void {
    const following = this.#lines[at + 1] ?? '';
    const seen = lookAtText(this.#area, line, following);
    if (seen.encoding !== undefined) {
      throw this.#garbage(at, `the mail is encoded as ${seen.encoding}, so its lines are not those of the patch`, {
        hint: 'decode it: git am and git format-patch, or b4 am',
      });
    }
    // diff says what it was called with in front of each file of a folder.
    const isCommand = this.#area === 'diff' && /^diff -/.test(line);
    if (isCommand && !/^(?:--- |Binary files |Files |Only in )/.test(following)) {
      throw this.#garbage(at, 'no hunk follows this header of a file');
    }
    if (looksLikeChange(this.#area, line)) {
      throw this.#garbage(at, 'this looks like part of a change, and is in no hunk that its header counts');
    }
    if (seen.area !== this.#area && seen.area === 'message') this.#close();
    this.#area = seen.area;
  }

  #gitPaths(line: string, at: number): readonly string[] {
    const [, one, other] = /^diff --git ("[^"]*"|\S+) ("[^"]*"|\S+)$/.exec(line) ?? [];
    if (one === undefined || other === undefined) throw this.#garbage(at, 'the names in this header cannot be read');
    return this.#paths(one, other, at);
  }

  #paths(from: string | undefined, to: string | undefined, at: number): readonly string[] {
    // Git quotes names with bytes beyond ASCII and writes these as numbers: such a name is told, and is no name of a
    // kernel source.
    const [one, other] = [from, to].map((name) => name?.replace(/^"(.*)"$/, '$1'));
    const found = fileOfNames(one, other);
    switch (found.kind) {
      case 'path':
        return [found.path];
      case 'renamed':
        return [found.from, found.to];
      case 'unsafe':
        throw new BuilderError(
          'fix-unsafe-path',
          `line ${at + 1} of the patch of ${this.#id} names "${found.name.slice(0, 200)}"`,
          {
            hint: 'paths must be relative to the top of the kernel tree, behind one component such as a/ and b/',
          },
        );
      case 'unclear':
        throw this.#garbage(at, found.why, {
          hint: 'name the files from the top of the kernel tree, as git diff does: --- a/kernel/fork.c, +++ b/kernel/fork.c',
        });
    }
  }

  #garbage(at: number, what: string, options?: { readonly hint: string }): BuilderError {
    const shown = (this.#lines[at] ?? '').slice(0, 80);
    return new BuilderError(
      'fix-garbage',
      `line ${at + 1} of the patch of ${this.#id} ("${shown}"): ${what.slice(0, 500)}`,
      {
        hint: 'get the patch again from where it comes (git format-patch, git diff), or correct the line; text belongs before the first file',
        ...options,
      },
    );
  }
}

function isOf(header: Header, paths: readonly string[]): boolean {
  return header.paths.length === 0 || paths.every((path) => header.paths.includes(path));
}

/** Lines of a hunk on either side, by its header. */
export function hunkSize(header: string): { before: number; after: number } | undefined {
  const match = /^@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@/.exec(header);
  if (match === null) return undefined;
  return { before: Number(match[1] ?? 1), after: Number(match[2] ?? 1) };
}
