import { cp, lstat, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Edges } from '@kmend/base';
import { bashArguments, exists, runOk } from '@kmend/base/node';
import { KernelError } from '../error.ts';

const LIMIT_MS = 15 * 60_000;

/**
 * What is no source: Git's own, products of a build, and the keys that it signed modules with. What else a build
 * leaves, headers that it made above all, `make mrproper` removes when the tree is prepared.
 */
const EXCLUDED = [
  './.git',
  './vmlinux',
  './vmlinux.*',
  './debian',
  '*.o',
  '*.ko',
  '*.a',
  '.*.cmd',
  '*.deb',
  'signing_key*',
];

/** The text of the tree's Makefile. */
export async function readMakefile(source: string): Promise<string> {
  const path = join(source, 'Makefile');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text !== undefined && (await exists(join(source, 'Kconfig')))) return text;
  throw new KernelError('kernel-incomplete', `${source} is not the source tree of a Linux kernel`, {
    hint: 'name the top folder of the source tree that the kernel was built from with --source',
  });
}

/** Packs a source tree, without what a build or Git left in it. */
export async function packSource(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  source: string,
  into: string,
): Promise<void> {
  // The same tree makes the same archive, whenever and by whomever.
  const script = `set -o pipefail; from=$1 into=$2; shift 2
    tar -C "$from" "$@" --sort=name --owner=0 --group=0 --numeric-owner --mtime=2000-01-01 \\
      --transform='s,^[.],linux,S' -cf - . | zstd -q -1 -T0 -o "$into"`;
  const args = bashArguments(script, source, into, ...EXCLUDED.map((pattern) => `--exclude=${pattern}`));
  await runOk(run, 'bash', args, { signal, timeoutMs: LIMIT_MS });
}

/** Copies modules and Kbuild's lists of them, without links: `build` and `source` lead to where it was built. */
export async function copyModules(from: string, into: string): Promise<void> {
  await cp(from, into, {
    recursive: true,
    filter: async (path) => {
      const kind = await lstat(path);
      return kind.isDirectory() || (kind.isFile() && /(?:\.ko(?:\.\w+)?|\/modules\.[\w.]+)$/.test(path));
    },
  });
}

/** Bytes of a part that is read as a whole. */
export async function readWhole(path: string, limit: number): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > limit) throw new KernelError('kernel-incomplete', `${path} has ${size} bytes, more than ${limit}`);
  return await readFile(path);
}
