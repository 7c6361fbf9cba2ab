import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '@kmend/base';
import { sha256, writeFileAtomic } from '@kmend/base/node';
import { PROOF_FILE } from '@kmend/protocol';
import type { BuildResult } from './assemble/builder.ts';
import { BuilderError } from './error.ts';
import { PROVENANCE, provenanceOf } from './provenance.ts';

export const MANIFEST = 'livepatch.json';
/** What may lie beside it: of an earlier build, and gone with it. */
const COMPANIONS: readonly string[] = [MANIFEST, PROOF_FILE, PROVENANCE];

/** Makes the folder a livepatch is written to. What else lies in it must be an earlier build. */
export async function prepareOutput(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[];
    throw new BuilderError('output-exists', `${directory} cannot be written to: ${errorText(error)}`);
  });
  const foreign = names.filter((name) => !COMPANIONS.includes(name) && !/^kmend_[0-9a-f]{12}\.ko$/.test(name));
  if (foreign.length > 0) {
    throw new BuilderError('output-exists', `${directory} holds something else (${foreign[0]})`, {
      hint: 'name a new or empty folder with --out',
    });
  }
}

/** Writes the module and its provenance, then the manifest that names it: a manifest is never without its module. */
export async function writeLivepatch(directory: string, { manifest, module }: BuildResult): Promise<void> {
  await prepareOutput(directory);
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) await rm(join(directory, name), { force: true });
  if (module !== undefined && manifest.file !== undefined)
    await writeFileAtomic(join(directory, manifest.file.name), module);
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  const provenance = provenanceOf(manifest, sha256(text));
  if (provenance !== undefined)
    await writeFileAtomic(join(directory, PROVENANCE), `${JSON.stringify(provenance, null, 2)}\n`);
  await writeFileAtomic(join(directory, MANIFEST), text);
}
