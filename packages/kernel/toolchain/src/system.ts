import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What a tool needs of the Debian system that it runs from. `checker`: as a compiler, and what the kernel says of the
 * tool's own process: objtool looks where its stack ends (tools/objtool/signal.c, 7.x).
 */
export type SystemPart = 'compiler' | 'checker' | 'build';

/** Programs and the libraries they load: of this the compiler itself is a part (`/usr/lib/gcc`). */
const PROGRAMS = ['usr/bin', 'usr/lib', 'usr/lib32', 'usr/lib64', 'usr/libx32', 'usr/libexec'];
/** For make: the programs of the system, headers for programs that run while building, data files, what `awk` is. */
const BUILDING = ['usr/sbin', 'usr/include', 'usr/share', 'etc/alternatives'];
/** Links into /usr on every Debian since 12, folders on older ones. */
const TOP = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];

/**
 * Arguments of bwrap(1) that show that part of a system read-only. Left out on purpose: /usr/local and /usr/src,
 * which are the operator's, and /etc: a compiler needs no name of a user, and finds its libraries without the cache
 * of ld.so.
 */
export function systemArguments(root: string, part: SystemPart): string[] {
  const args: string[] = [];
  for (const name of [...TOP, ...PROGRAMS, ...(part === 'build' ? BUILDING : [])]) {
    const at = join(root, name);
    const kind = lstatSync(at, { throwIfNoEntry: false });
    if (kind?.isSymbolicLink() === true) args.push('--symlink', readlinkSync(at), `/${name}`);
    else if (kind?.isDirectory() === true) args.push('--ro-bind', at, `/${name}`);
  }
  // Read-only, since /proc/sys is not the sandbox's own: root may write there without any capability, and bwrap
  // covers it only for others.
  return part !== 'compiler' ? [...args, '--proc', '/proc', '--remount-ro', '/proc'] : args;
}
