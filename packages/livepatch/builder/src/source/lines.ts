/**
 * Marks a patched source so that the lines it shares with the original keep their numbers: `__LINE__` ends up in WARN,
 * BUG and might_sleep data, and a fix that adds a line would otherwise change every function below it.
 */

/** A run of lines that `diff` says differ. Numbers are 1-based and inclusive; an empty side has `to` = `from` - 1. */
export interface ChangedLines {
  readonly original: { readonly from: number; readonly to: number };
  readonly patched: { readonly from: number; readonly to: number };
}

/**
 * Parses the commands of `diff`'s normal format (POSIX, "Diff Default Output Format"): `12,14c15,16`, `3a4`, `5,6d4`.
 */
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

/**
 * The text to compile: puts the count right behind every change. `name`: what `__FILE__` is to show, for a copy that
 * lies elsewhere; without, the text keeps the name that it is included by.
 */
export function markLines(name: string | undefined, text: string, changes: readonly ChangedLines[]): string {
  const out = name === undefined ? [] : [`#line 1 "${name}"`];
  let shift = 0;
  let pending = false;
  let next = 0;
  let inComment = false;
  let isEnded = false;
  let inDirective = false;
  let depth = 0;
  let maybeSkipped = false;
  let parentheses = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const number = index + 1;
    for (let change = changes[next]; change !== undefined && number > change.patched.to; change = changes[++next]) {
      shift = change.original.to - change.patched.to;
      pending = true;
    }
    // A directive may not stand inside a macro's arguments, a continued line or a comment: only behind a whole
    // statement.
    if (pending && !inComment && !inDirective && isEnded && parentheses <= 0) {
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
    const wasInComment = inComment;
    inComment = endsInComment(line, inComment);
    // include/trace/events: statements stand inside TP_fast_assign(...), where a directive would be part of a macro's
    // arguments.
    if (!inDirective && !wasInComment) parentheses = (/^\}/.test(line) ? 0 : parentheses) + opened(line);
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

/** By how many a line opens more parentheses than it closes. */
function opened(line: string): number {
  let count = 0;
  for (const [token] of line.matchAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\/\/.*|\/\*.*?(?:\*\/|$)|[()]/g)) {
    if (token === '(') count++;
    else if (token === ')') count--;
  }
  return count;
}
