/**
 * Marks a patched source so that the lines it shares with the original keep their numbers: `__LINE__` ends up in WARN, BUG and
 * might_sleep data, and a fix that adds a line would otherwise change every function below it.
 */

/** A run of lines that `diff` says differ. Numbers are 1-based and inclusive; an empty side has `to` = `from` - 1. */
export interface ChangedLines {
  readonly original: { readonly from: number; readonly to: number };
  readonly patched: { readonly from: number; readonly to: number };
}

/** Parses the commands of `diff`'s normal format (POSIX, "Diff Default Output Format"): `12,14c15,16`, `3a4`, `5,6d4`. */
export function parseChanges(text: string): ChangedLines[] {
  const changes: ChangedLines[] = [];
  for (const match of text.matchAll(/^(\d+)(?:,(\d+))?([acd])(\d+)(?:,(\d+))?$/gm)) {
    const [, a = '0', b = a, kind, c = '0', d = c] = match;
    // An appended or deleted run names the line before the empty side.
    const original = kind === 'a' ? { from: Number(a) + 1, to: Number(a) } : { from: Number(a), to: Number(b) };
    const patched = kind === 'd' ? { from: Number(c) + 1, to: Number(c) } : { from: Number(c), to: Number(d) };
    changes.push({ original, patched });
  }
  return changes;
}

/** The text to compile: begins with the name that `__FILE__` shows, and puts the count right behind every change. */
export function markLines(name: string, text: string, changes: readonly ChangedLines[]): string {
  const out = [`#line 1 "${name}"`];
  let shift = 0;
  let pending = false;
  let next = 0;
  let inComment = false;
  let isEnded = false;
  let inDirective = false;
  let depth = 0;
  let maybeSkipped = false;
  for (const [index, line] of text.split('\n').entries()) {
    const number = index + 1;
    for (let change = changes[next]; change !== undefined && number > change.patched.to; change = changes[++next]) {
      shift = change.original.to - change.patched.to;
      pending = true;
    }
    // A directive may not stand inside a macro's arguments, a continued line or a comment: only behind a whole statement.
    if (pending && !inComment && !inDirective && isEnded) {
      out.push(`#line ${number + shift}`);
      pending = false;
      maybeSkipped = depth > 0;
    }
    out.push(line);
    const conditional = inComment || inDirective ? undefined : /^\s*#\s*(if|el|endif)/.exec(line)?.[1];
    if (conditional === 'if') depth++;
    else if (conditional !== undefined) {
      // The branch that ends here may have been skipped, and the count with it: again behind it.
      if (maybeSkipped) pending = true;
      if (conditional === 'endif') depth--;
    }
    inDirective = inDirective || (!inComment && line.trimStart().startsWith('#'));
    inComment = endsInComment(line, inComment);
    // Directives stand between statements, or inside one, and change nothing about that.
    if (!inDirective && line.trim() !== '') isEnded = /(?:[;{}]|\*\/)\s*$/.test(line);
    inDirective &&= line.endsWith('\\');
  }
  return out.join('\n');
}

/** Whether a block comment is open behind a line, when it was (or was not) in front of it. */
function endsInComment(line: string, open: boolean): boolean {
  let inside = open;
  // Literals are skipped as a whole, so that what looks like a comment in them is not one.
  for (const [token] of line.matchAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\/\/|\/\*|\*\//g)) {
    if (inside) inside = !token.includes('*/');
    else if (token === '//') return false;
    else if (token === '/*') inside = true;
  }
  return inside;
}
