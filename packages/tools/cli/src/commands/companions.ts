import { errorCode } from '@kmend/base';
import { type Builder, BuilderError, deltaTexts, type Fix } from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import type { Context } from '../context.ts';
import { storesOf } from '../stores.ts';
import { withFiles } from './fix.ts';

/**
 * The error of a build that does not compile, with a hint that names what `fix import` would have: the files of the same delta that make a fix
 * compile, and the command. Other errors are given back as they are.
 */
export async function withCompanionHint(
  context: Context,
  builder: Builder,
  kernel: Kernel,
  fixes: readonly Fix[],
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof BuilderError) || errorCode(error) !== 'patch-does-not-compile') return error;
  const { edges, sources } = storesOf(context);
  const hints: string[] = [];
  for (const fix of fixes) {
    const { origin } = fix;
    if (origin.kind !== 'debian' || origin.from !== kernel.version) continue;
    const delta = deltaTexts(edges, sources, origin);
    const found = await builder.companionsOf(fix, delta, (paths, parts) => withFiles(context, fix, paths, parts));
    if (found.compiles || !found.complete) continue;
    const files = found.companions.join(' ');
    hints.push(`${fix.id} compiles together with ${files} of the same delta: ${importCommand(fix, origin)}`);
  }
  if (hints.length === 0) return error;
  const { code, message, details } = error;
  return new BuilderError(code, message, { hint: hints.join('\n'), details: { ...details }, cause: error });
}

function importCommand({ id }: Fix, origin: Extract<Fix['origin'], { kind: 'debian' }>): string {
  const { suite, from, to, paths, parts } = origin;
  // A header that is named is taken whole.
  const whole = paths.filter((path) => parts?.[path] === undefined);
  const where = `--suite ${suite} --from ${from} --to ${to} --path ${whole.join(' ')}`;
  return `kmend fix import --id ${id} ${where} --replace --companions${parts === undefined ? '' : ' parts'}`;
}
