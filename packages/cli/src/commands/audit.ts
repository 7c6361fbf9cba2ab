import { readFile } from 'node:fs/promises';
import { type AuditResult, audit, FixedWorlds, World } from '@kmend/audit';
import { errorCode } from '@kmend/base';
import { type FixStore, findTree } from '@kmend/builder';
import type { Livepatch } from '@kmend/protocol';
import { readArtifact } from '@kmend/trust';
import { exitCodes } from '../error.ts';
import type { Register } from '../program.ts';
import { storesOf } from '../stores.ts';

export const auditCommand: Register = ({ program, action }) => {
  program
    .command('audit')
    .description('load a finished livepatch in simulation, as the kernel would, and check what it would do')
    .argument('<dir>', 'what kmend build --out wrote')
    .action(
      action(async (context, directory: string) => {
        const { kernels, images, fixes } = storesOf(context);
        const { livepatch: manifest, module: file } = await readArtifact(directory);
        const module = await readFile(file.path);
        const kernel = await kernels.open(manifest.kernel.buildId);
        const source = {
          patches: await patchesOf(manifest, fixes),
          tree: (await findTree(context.places.cache, kernel))?.source,
        };
        const fixed = await new FixedWorlds(images).of(manifest);
        const result = await audit(await World.open(kernel), { module, manifest, source, fixed });
        context.terminal.result({ livepatch: manifest.id, ...result }, (data) => auditText(manifest, data));
        if (result.findings.length > 0) context.exitWith(exitCodes.refused);
      }),
    );
};

/** The patches of its fixes, if all of them are here as they were when it was built. */
async function patchesOf({ inputs }: Livepatch, fixes: FixStore): Promise<string[]> {
  const patches: string[] = [];
  for (const [id, sha256] of Object.entries({ ...inputs.on, ...inputs.fixes })) {
    try {
      const fix = await fixes.open(id);
      if (fix.sha256 !== sha256) return [];
      patches.push(fix.patch);
    } catch (error) {
      if (errorCode(error) !== 'fix-unknown') throw error;
      return [];
    }
  }
  return patches;
}

/** The findings of an audit for people. */
export function auditText(manifest: Livepatch, result: AuditResult): string {
  const { findings, functions, relocations, notChecked } = result;
  const verdict =
    findings.length === 0 ? 'nothing found' : `${findings.length} ${findings.length === 1 ? 'finding' : 'findings'}`;
  const lines = [`livepatch ${manifest.id} for ${manifest.kernel.release}: ${verdict}`];
  lines.push(
    `  ${functions} ${functions === 1 ? 'function' : 'functions'} replaced, ${relocations} relocations applied`,
  );
  for (const { code, message } of findings) lines.push(`  audit-failed [${code}]: ${message}`);
  if (findings.length > 0)
    lines.push('  do not load it: build it again with this version of kmend; report findings that stay');
  for (const one of notChecked) lines.push(`  not checked: ${one}`);
  return lines.join('\n');
}
