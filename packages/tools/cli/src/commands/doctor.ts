import type { Diagnosis, Workplace } from '@kmend/builder';
import { exitCodes } from '../error.ts';
import type { Register } from '../program.ts';
import { megabytes, table } from '../terminal.ts';
import { workshopOf } from '../workshop.ts';

export const doctorCommand: Register = ({ program, action }) => {
  program
    .command('doctor')
    .description('Show what this machine compiles kernels with: compilers, build roots and their sizes.')
    .action(
      action(async (context) => {
        const diagnosis = await workshopOf(context).diagnosis();
        context.terminal.result(diagnosis, diagnosisText);
        if (diagnosis.kernels.some(({ system }) => system === 'nowhere')) context.exitWith(exitCodes.failed);
      }),
    );
};

/** For people. */
export function diagnosisText({ kernels, roots }: Diagnosis): string {
  const known = new Map(roots.map((root) => [root.name, root]));
  const stateOf = (name: string): string => {
    const root = known.get(name);
    if (root === undefined) return 'made by the first build';
    return root.state === 'whole' ? 'ready' : 'damaged: made again by the next build';
  };
  const placeOf = ({ system, root }: Workplace): string => {
    if (system === 'given root') return `your build root ${root}`;
    if (root !== undefined) return `build root ${root} (${stateOf(root)})`;
    return system === 'nowhere' ? 'nowhere: install that compiler' : system;
  };
  const lines =
    kernels.length === 0
      ? ['no kernel yet; add one, e.g.: kmend kernel add bookworm/6.1.0-47-amd64']
      : [
          table(
            ['KERNEL', 'SIZE', 'TREE', 'COMPILER', 'COMPILED IN'],
            kernels.map((kernel) => [
              kernel.release,
              megabytes(kernel.bytes),
              kernel.treeBytes === undefined ? 'none yet' : megabytes(kernel.treeBytes),
              kernel.compiler,
              placeOf(kernel),
            ]),
          ),
        ];
  if (roots.length > 0) {
    const rows = roots.map(({ name, bytes, packages, state }) => [
      name,
      megabytes(bytes),
      packages === 0 ? '' : `${packages}`,
      state,
    ]);
    lines.push('', table(['BUILD ROOT', 'SIZE', 'PACKAGES', 'STATE'], rows));
  }
  return lines.join('\n');
}
