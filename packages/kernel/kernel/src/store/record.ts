import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { z } from 'zod';
import { KernelError } from '../error.ts';
import type { Kernel } from '../kernel.ts';

/** `kernel.json` in a kernel's folder: written last, so that its presence means the folder is whole. */
const KernelRecord = z.object({
  schema: z.literal('kmend.kernel/1'),
  release: z.string(),
  buildId: z.string().regex(/^[0-9a-f]{40}$/),
  version: z.string(),
  sourcePackage: z.string(),
  suite: z.string(),
  arch: z.literal('x86_64'),
  compiler: z.object({ text: z.string(), command: z.string() }),
});
type KernelRecord = z.infer<typeof KernelRecord>;

const FILE = 'kernel.json';

export function recordText(kernel: Omit<Kernel, 'paths'>): string {
  const { release, buildId, version, sourcePackage, suite, arch, compiler } = kernel;
  const record: KernelRecord = {
    schema: 'kmend.kernel/1',
    release,
    buildId,
    version,
    sourcePackage,
    suite,
    arch,
    compiler: { text: compiler.text, command: compiler.command },
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
  const { schema: _, ...record } = parsed.data;
  const within = (...parts: string[]): string => join(directory, ...parts);
  const headers = within('headers', 'usr', 'src', `linux-headers-${record.release}`);
  return {
    ...record,
    paths: {
      directory,
      vmlinuz: within('image', 'boot', `vmlinuz-${record.release}`),
      vmlinux: within('vmlinux'),
      modules: within('image', 'lib', 'modules', record.release),
      config: join(headers, '.config'),
      moduleSymvers: join(headers, 'Module.symvers'),
      headers,
      commonHeaders: within('headers', 'usr', 'src', commonHeadersPackage(record.release)),
      sourceTarball: within('source', 'usr', 'src', `${record.sourcePackage}.tar.xz`),
    },
  };
}

/** `6.1.0-47-amd64` has its architecture-independent headers in `linux-headers-6.1.0-47-common`. */
export function commonHeadersPackage(release: string): string {
  const flavourless = release.replace(/-(?:cloud-|rt-)?amd64$/, '');
  return `linux-headers-${flavourless}-common${release.endsWith('-rt-amd64') ? '-rt' : ''}`;
}
