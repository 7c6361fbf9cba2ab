import { ServerError } from '../error.ts';

/** Bytes of a file's path in a repository, and folders above it. */
const MAX_PATH = 240;
const MAX_DEPTH = 16;

/**
 * What package names and checksums are made of; nothing hidden, nothing that a shell or a browser reads as something
 * else.
 */
const SEGMENT = /^[A-Za-z0-9_+~^:=@%,-][A-Za-z0-9._+~^:=@%,-]*$/;

/**
 * A file's path in a repository. Throws `tar-path-absolute`, `tar-path-escapes`, `tar-path-too-long`,
 * `tar-path-unusable`.
 */
export function packagePath(name: string): string {
  const said = JSON.stringify(name.slice(0, MAX_PATH));
  if (name.startsWith('/')) throw new ServerError('tar-path-absolute', `${said} is an absolute path`);
  // As `tar -C folder .` writes them.
  const path = name.replace(/^\.\//, '');
  const segments = path.split('/');
  if (segments.includes('..')) throw new ServerError('tar-path-escapes', `${said} leads out of the repository`);
  if (Buffer.byteLength(path) > MAX_PATH || segments.length > MAX_DEPTH) {
    throw new ServerError('tar-path-too-long', `${said} has more than ${MAX_PATH} bytes or ${MAX_DEPTH} folders`);
  }
  if (!segments.every((segment) => SEGMENT.test(segment))) {
    throw new ServerError('tar-path-unusable', `${said} is not a valid file name of a repository`, {
      hint: 'use only letters, digits and ._+~^:=@%,- and no hidden files',
    });
  }
  return path;
}

/** The same for a path that a reader requests; `undefined` if no repository has such a file. */
export function askedPath(name: string): string | undefined {
  try {
    return packagePath(name);
  } catch {
    return undefined;
  }
}
