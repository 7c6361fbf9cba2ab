/** Columns of a line, in code, comments and documents. */
export const WIDEST = 120;

export interface LongLine {
  /** From 1. */
  readonly line: number;
  readonly columns: number;
}

/** How comments begin in a file; `undefined` for a text whose every line counts. */
type Style = 'slashes' | 'hash' | undefined;

function styleOf(path: string): Style {
  if (/\.(?:ts|c|h)$/.test(path)) return 'slashes';
  return path.endsWith('.md') ? undefined : 'hash';
}

/**
 * Lines that are too long: every line of a document, and the comments of code. The formatter breaks code itself. What it
 * leaves is one literal (a pattern, a message, a source for a test) that reads worse in pieces; so do commands of a
 * shell.
 */
export function longLines(path: string, text: string): LongLine[] {
  const style = styleOf(path);
  return text.split('\n').flatMap((content, index) => {
    const columns = [...content].length;
    if (columns <= WIDEST || (style !== undefined && !COMMENT[style].test(content))) return [];
    return isUnbreakable(content) ? [] : [{ line: index + 1, columns }];
  });
}

const COMMENT = { slashes: /^\s*(?:\/\/|\/?\*)/, hash: /^\s*# / } as const;

/** One word, such as an address, is as long as it is. */
function isUnbreakable(content: string): boolean {
  return (
    content
      .trim()
      .replace(/^(?:\/\/|\/?\*+|#|-)\s+/, '')
      .search(/\s/) < 0
  );
}

/** The text with its long comments, or in a document its long paragraphs, wrapped. Other lines stay as they are. */
export function wrapped(path: string, text: string): string {
  const long = new Set(longLines(path, text).map(({ line }) => line - 1));
  if (long.size === 0) return text;
  const lines = text.split('\n');
  const style = styleOf(path);
  const out: string[] = [];
  let fenced = false;
  for (let index = 0; index < lines.length; ) {
    const line = lines[index] ?? '';
    if (style === undefined && /^\s*```/.test(line)) fenced = !fenced;
    const single = style === 'slashes' ? /^(\s*)\/\*\*? (.*?) ?\*\/$/.exec(line) : null;
    if (single !== null && long.has(index)) {
      const [, indent = '', words = ''] = single;
      out.push(
        `${indent}${line.trim().startsWith('/**') ? '/**' : '/*'}`,
        ...fill(words, `${indent} * `),
        `${indent} */`,
      );
      index++;
      continue;
    }
    const prefix = fenced ? undefined : prefixOf(line, style);
    if (prefix === undefined) {
      out.push(line);
      index++;
      continue;
    }
    // A paragraph: lines that begin alike, up to the next item, heading or empty line.
    let end = index + 1;
    while (end < lines.length && isContinued(lines[end] ?? '', prefix, style)) end++;
    const paragraph = lines.slice(index, end);
    const isLong = paragraph.some((_, at) => long.has(index + at));
    out.push(...(isLong ? fill(paragraph.map((one) => one.slice(prefix.length).trim()).join(' '), prefix) : paragraph));
    index = end;
  }
  return out.join('\n');
}

/** What each line of the paragraph begins with; `undefined` for a line that is no prose. */
function prefixOf(line: string, style: Style): string | undefined {
  const prefix = (style === 'slashes' ? /^\s*(?:\/\/|\*) / : style === 'hash' ? /^\s*# / : /^ */).exec(line)?.[0];
  if (prefix === undefined) return undefined;
  const words = line.slice(prefix.length);
  return words === '' || /^(?:[|#]|biome-|shellcheck|@|```|!)/.test(words) ? undefined : prefix;
}

function isContinued(line: string, prefix: string, style: Style): boolean {
  if (!line.startsWith(prefix)) return false;
  const words = line.slice(prefix.length);
  return words.trim() !== '' && prefixOf(line, style) !== undefined && !ITEM.test(words.trimStart());
}

const ITEM = /^(?:[-*]|\d+\.) /;

/** Words in lines of at most `WIDEST` columns; an item's further lines stand under its first word. */
function fill(text: string, prefix: string): string[] {
  const hang = ' '.repeat(ITEM.exec(text)?.[0].length ?? 0);
  const lines: string[] = [];
  let line = prefix;
  let isEmpty = true;
  for (const word of text.split(/ +/)) {
    if (!isEmpty && [...line, ...word].length + 1 > WIDEST) {
      lines.push(line);
      line = prefix + hang;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
