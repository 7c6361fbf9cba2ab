import type { AuditResult } from '@kmend/audit';
import { auditLivepatch } from '@kmend/pipeline';
import type { Livepatch } from '@kmend/protocol';
import { exitCodes } from '../error.ts';
import type { Register } from '../program.ts';
import { usingWorkshop } from '../workshop.ts';

export const auditCommand: Register = ({ program, action }) => {
  program
    .command('audit')
    .description('Load a finished livepatch in simulation, as the kernel would, and check what it does.')
    .argument('<dir>', 'Folder that kmend build --out wrote')
    .action(
      action(async (context, directory: string) => {
        const { manifest, result } = await usingWorkshop(context, (workshop) => auditLivepatch(workshop, directory));
        context.terminal.result({ livepatch: manifest.id, ...result }, (data) => auditText(manifest, data));
        if (result.findings.length > 0) context.exitWith(exitCodes.refused);
      }),
    );
};

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
