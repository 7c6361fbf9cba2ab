/** The stanzas of a file of Debian's control format (deb822(5)): of Packages, of a package's control file. */
export function stanzasOf(text: string): string[] {
  return text.split(/\n(?:[ \t]*\n)+/).flatMap((stanza) => stanza.trim() || []);
}

/** A field of one stanza, its first line; empty where the stanza has no such field. Names are case-insensitive. */
export function fieldOf(stanza: string, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'im').exec(stanza)?.[1]?.trim() ?? '';
}

/** The further lines of a field of several (`Checksums-Sha256` of a source package), without the space in front. */
export function furtherLinesOf(stanza: string, name: string): string[] {
  const [, lines = ''] = new RegExp(`^${name}:.*((?:\\n[ \\t].*)*)`, 'im').exec(stanza) ?? [];
  return lines.split('\n').flatMap((line) => line.trim() || []);
}
