/**
 * Whether If-None-Match names an entity tag, by the weak comparison that RFC 9110 (13.1.2) asks for: a proxy that
 * compresses an answer makes its tag weak, and hosts send that one back.
 */
export function matchesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return [...header.matchAll(/"[^"]*"/g)].some(([tag]) => tag === etag);
}
