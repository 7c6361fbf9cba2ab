/**
 * Text from elsewhere (a server's answer, a host's name, a patch's title), fit for a terminal. Escape sequences begin
 * with a control character: of C0, or of C1, which a terminal takes in UTF-8 as well (U+009B is `ESC [`). Bidirectional
 * controls (U+202E) and other format characters show a text in an order, or equal to another, that it does not have:
 * "Trojan Source", CVE-2021-42574.
 */
const UNFIT = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** The two control characters that lay out a text of several lines. */
const LAYOUT = new Set(['\n', '\t']);
const REPLACEMENT = '\u{fffd}';

/** A text of several lines: line ends and tabs stay, every other character that a terminal would obey is U+FFFD. */
export function shownText(text: string): string {
  return text.replace(UNFIT, (character) => (LAYOUT.has(character) ? character : REPLACEMENT));
}

/** A text of one line: line ends, too, are U+FFFD, so that it cannot look like a line of ours. */
export function shownLine(text: string): string {
  return text.replace(UNFIT, REPLACEMENT);
}

/** Lines as one text; each stays the one line that it is. */
export function shownLines(lines: readonly string[]): string {
  return lines.map(shownLine).join('\n');
}

/**
 * JSON with the same characters escaped (`\u202e`): a parser gets the original text, a terminal shows it harmless.
 */
export function escapedJson(json: string): string {
  return json.replace(UNFIT, (character) => (LAYOUT.has(character) ? character : escaped(character)));
}

/** A value as JSON for people and programs, indented by two. */
export function shownJson(value: unknown): string {
  return escapedJson(JSON.stringify(value, null, 2));
}

function escaped(character: string): string {
  // U+E0041 (a tag character) is two units, each with an escape of its own.
  return Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('');
}
