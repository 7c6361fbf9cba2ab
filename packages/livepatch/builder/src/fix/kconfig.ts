/**
 * Whether hunks of a Kconfig file change help texts alone, as far as the hunks themselves show it: above each changed
 * line, inside its hunk, must stand the `help` that it belongs to (scripts/kconfig/lexer.l: a help text ends at the
 * first line that is indented less than its first one). A hunk that does not reach up to the `help` shows nothing. What
 * stays must be help text, or none, on both sides: where a whole text goes, the attribute behind it would become one.
 */
export function isHelpTextOnly(hunks: readonly string[]): boolean {
  const before = helpOfSide(hunks, '-');
  const after = helpOfSide(hunks, '+');
  return before !== undefined && after !== undefined && before.join() === after.join();
}

/** For each line of context whether it is help text on one side; `undefined` if a changed line of the side is not. */
function helpOfSide(hunks: readonly string[], side: '-' | '+'): boolean[] | undefined {
  const context: boolean[] = [];
  /** Columns of the help text's first line; 0 right behind `help`; `undefined` outside of one. */
  let indent: number | undefined;
  for (const line of hunks) {
    const kind = line[0];
    if (kind === '@') indent = undefined;
    const text = line.slice(1);
    // An empty line ends no help text, and means nothing elsewhere.
    if ((kind !== ' ' && kind !== side) || text.trim() === '') continue;
    const columns = columnsOf(text);
    if (indent === 0) indent = columns;
    const isHelp = indent !== undefined && indent > 0 && columns >= indent;
    if (!isHelp) indent = /^\s+(?:help|---help---)\s*$/.test(text) ? 0 : undefined;
    if (kind === ' ') context.push(isHelp);
    else if (!isHelp) return undefined;
  }
  return context;
}

/** Width of the white space in front, with tabs to every eighth column as Kconfig's scanner counts. */
function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (character === '\t') columns = (columns & ~7) + 8;
    else if (character === ' ') columns++;
    else break;
  }
  return columns;
}
