import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256File, writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import type { PreparedTree } from '../tree/tree.ts';

const Known = z.record(z.string(), z.object({ stamp: z.string(), sha256: z.string() }));

/** SHA-256 of what a kernel's livepatches are built from. */
export interface KernelInputs {
  readonly config: string;
  readonly moduleSymvers: string;
  readonly vmlinux: string;
  readonly source: string;
}

/**
 * Hashes of a kernel's files. Hundreds of megabytes that do not change: hashed once, then again only when a file's
 * size, place or time of change differs.
 */
export async function hashInputs(tree: PreparedTree): Promise<KernelInputs> {
  const { config, moduleSymvers, vmlinux, sourceTarball } = tree.kernel.paths;
  const path = join(tree.directory, 'inputs.json');
  const before = Known.safeParse(parseJson(await readFile(path, 'utf8').catch(() => ''))).data ?? {};
  const now: z.infer<typeof Known> = {};
  const hash = async (file: string): Promise<string> => {
    const { size, mtimeMs, ctimeMs, ino } = await stat(file);
    const stamp = [size, mtimeMs, ctimeMs, ino].join();
    const known = before[file];
    const digest = known?.stamp === stamp ? known.sha256 : await sha256File(file);
    now[file] = { stamp, sha256: digest };
    return digest;
  };
  const inputs = {
    config: await hash(config),
    moduleSymvers: await hash(moduleSymvers),
    vmlinux: await hash(vmlinux),
    source: await hash(sourceTarball),
  };
  if (JSON.stringify(now) !== JSON.stringify(before)) await writeFileAtomic(path, `${JSON.stringify(now)}\n`);
  return inputs;
}
