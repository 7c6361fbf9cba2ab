import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { z } from 'zod';
import { KernelError } from '../error.ts';
import type { Kernel, KernelPaths } from '../kernel.ts';

/** `kernel.json` in a kernel's folder: written last, so that its presence means the folder is whole. */
const KernelRecord = z.object({
  schema: z.literal('kmend.kernel/1'),
  release: z.string(),
  buildId: z.string().regex(/^[0-9a-f]{40}$/),
  version: z.string(),
  sourcePackage: z.string().optional(),
  suite: z.string(),
  indexExpired: z.string().max(100).optional(),
  arch: z.literal('x86_64'),
  compiler: z.object({ text: z.string(), command: z.string() }),
  local: z.object({ buildRoot: z.string().optional() }).optional(),
});
type KernelRecord = z.infer<typeof KernelRecord>;

const FILE = 'kernel.json';

export function recordText(kernel: Omit<Kernel, 'paths'>): string {
  const { release, buildId, version, sourcePackage, suite, indexExpired, arch, compiler, local } = kernel;
  const record: KernelRecord = {
    schema: 'kmend.kernel/1',
    release,
    buildId,
    version,
    ...(sourcePackage === undefined ? {} : { sourcePackage }),
    suite,
    ...(indexExpired === undefined ? {} : { indexExpired }),
    arch,
    compiler: { text: compiler.text, command: compiler.command },
    ...(local === undefined ? {} : { local }),
  };
  return `${JSON.stringify(record, null, 2)}\n`;
}

export function recordPath(directory: string): string {
  return join(directory, FILE);
}

/** The kernel in a folder of the store; `undefined` where there is none. */
export async function readRecord(directory: string): Promise<Kernel | undefined> {
  const text = await readFile(recordPath(directory), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = KernelRecord.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new KernelError('kernel-record', `${recordPath(directory)} is not a kernel record of this version of kmend`, {
      hint: `remove the folder ${directory} and add the kernel again`,
    });
  }
  const { schema: _, sourcePackage, indexExpired, local, ...record } = parsed.data;
  return {
    ...record,
    ...(sourcePackage === undefined ? {} : { sourcePackage }),
    ...(indexExpired === undefined ? {} : { indexExpired }),
    ...(local === undefined ? {} : { local: local.buildRoot === undefined ? {} : { buildRoot: local.buildRoot } }),
    paths: pathsIn(directory, record.release, sourcePackage),
  };
}

/** Where the parts of a kernel lie in its folder. `sourcePackage`: absent for a kernel of one's own. */
export function pathsIn(directory: string, release: string, sourcePackage?: string): KernelPaths {
  const within = (...parts: string[]): string => join(directory, ...parts);
  const headers = sourcePackage === undefined ? within('headers') : headersIn(directory, release);
  return {
    directory,
    vmlinuz: within('image', 'boot', `vmlinuz-${release}`),
    vmlinux: within('vmlinux'),
    modules: within('image', 'lib', 'modules', release),
    config: join(headers, '.config'),
    moduleSymvers: join(headers, 'Module.symvers'),
    sourceTarball:
      sourcePackage === undefined || isRealTime(release)
        ? within('source.tar.zst')
        : within('source', 'usr', 'src', `${sourcePackage}.tar.xz`),
  };
}

/** Debian's flavour with PREEMPT_RT, whose source has further patches than `linux-source-*` has. */
export function isRealTime(release: string): boolean {
  return release.endsWith('-rt-amd64');
}

/** Where Debian's headers package is unpacked to. */
export function headersIn(directory: string, release: string): string {
  return join(directory, 'headers', 'usr', 'src', `linux-headers-${release}`);
}

/** `6.1.0-47-amd64` has its architecture-independent headers in `linux-headers-6.1.0-47-common`. */
export function commonHeadersPackage(release: string): string {
  const flavourless = release.replace(/-(?:cloud-|rt-)?amd64$/, '');
  return `linux-headers-${flavourless}-common${isRealTime(release) ? '-rt' : ''}`;
}
