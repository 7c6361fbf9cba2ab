import { TrustError } from '../error.ts';

/** Characters and parts of any path inside a repository. */
const MAX_PATH = 1024;
const MAX_PARTS = 16;
/** Names of the repository's files (repository/layout.ts); a role's or target's unusual characters arrive encoded. */
const PART = /^[\w%+@~-][\w.%+@~-]{0,254}$/;

/**
 * The path inside a repository that a URL of the client asks for, part by part: `x://host/metadata/1.root.json` (or
 * `x:/metadata/…`, or `x:///metadata/…`) gives `['metadata', '1.root.json']`. For edges that answer from a directory or
 * a file in place of a web server: no part is empty, begins with a dot, or holds a slash, encoded or not.
 */
export function requestPath(url: string): readonly string[] {
  const path = /^[a-z][a-z0-9+.-]*:(?:\/\/[^/]*)?\/(.*)$/s.exec(url)?.[1] ?? '';
  const parts = path.split('/');
  const fine = path.length <= MAX_PATH && parts.length <= MAX_PARTS && parts.every((part) => PART.test(part));
  if (fine) return parts;
  throw new TrustError('repository-garbage', `${url.slice(0, 200)} is no address inside a repository`, {
    hint: 'signed metadata asks for a file by a name that no repository of kmend has',
  });
}
