/**
 * What a terminal would obey, or show as something else than it is: controls of C0 and C1 (ECMA-48) but tab and newline, line and paragraph
 * separators, and what turns the direction of writing (Unicode Technical Report 36, 2.10).
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const ACTIVE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text for people, in which what came from a server or the fetcher does nothing: `\\u001b`. Inside JSON strings it means the same as before. */
export function clean(text: string): string {
  return text.replace(ACTIVE, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
