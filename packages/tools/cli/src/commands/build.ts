import { basename } from 'node:path';
import { assertEffectiveVersion, type Fix, importFromPatch, type SigningKeyFiles } from '@kmend/builder';
import { buildForKernels, buildLivepatch, type KernelOutcome, type Workshop } from '@kmend/pipeline';
import type { Livepatch } from '@kmend/protocol';
import type { Context } from '../context.ts';
import { CliError, type ExitCode, exitCodes } from '../error.ts';
import type { Register } from '../program.ts';
import type { Terminal } from '../terminal.ts';
import { usingWorkshop, workshopOf } from '../workshop.ts';
import { remarks } from './fix.ts';

interface BuildOptions {
  readonly kernel: string[];
  readonly fix?: string[];
  readonly patch?: string[];
  readonly stacked?: boolean;
  readonly on?: string[];
  readonly effectiveVersion?: string;
  readonly fixedIn?: string;
  readonly acceptReview?: boolean;
  readonly signKey?: string;
  readonly signCert?: string;
  readonly signPassphraseFile?: string;
  readonly out: string;
}

export const buildCommand: Register = ({ program, action }) => {
  program
    .command('build')
    .description(
      'Build a livepatch from fixes. Writes the module and livepatch.json, which has the verdict and its reasons.',
    )
    .requiredOption('--kernel <release|build-id...>', 'Kernels in the store; of several, each gets a folder in --out')
    .option('--fix <id...>', 'Fixes, in the order in which they apply')
    .option('--patch <file...>', 'Patch files for this build only, applied after the fixes')
    .option('--stacked', 'Build a stacked livepatch instead of a cumulative one that replaces all before it')
    .option('--on <id...>', 'With --stacked: fixes of the series that hosts have loaded before, in order')
    .option(
      '--effective-version <version>',
      'Debian kernel version whose security fixes are all in the livepatch; scanners use it; not checked',
    )
    .option(
      '--fixed-in <version|release>',
      'Fixed kernel to compare with (default: that of the version that each fix came from)',
    )
    .option('--accept-review', 'Build despite needs-review reasons that you have read')
    .option('--sign-key <file>', 'Private key (PEM) that signs the module for the kernel')
    .option('--sign-cert <file>', 'Certificate of the key (default: in the key file)')
    .option('--sign-passphrase-file <file>', 'File whose first line is the passphrase of the key')
    .requiredOption('--out <dir>', 'Output folder; replaces an earlier build in it')
    .action(
      action(async (context, options: BuildOptions) => {
        const { kernel: kernels, effectiveVersion, fixedIn, acceptReview = false, out } = options;
        // Before anything else, so that a mistyped one costs no time.
        assertEffectiveVersion(effectiveVersion);
        const workshop = workshopOf(context);
        const fixes = [...(await kept(workshop, options.fix)), ...(await fromPatches(options.patch, context.terminal))];
        if (fixes.length === 0) {
          throw new CliError('usage', 'cannot build a livepatch without a fix', {
            hint: 'name at least one with --fix or --patch',
          });
        }
        const sign = signingFiles(options);
        const on = await kept(workshop, options.on);
        const kind = options.stacked ? 'stacked' : 'cumulative';
        const order = { fixes, kind, on, effectiveVersion, fixedIn, acceptReview, sign, out } as const;
        const [kernel = '', ...others] = kernels;
        if (others.length > 0) {
          const outcomes = await usingWorkshop(context, (used) => buildForKernels(used, { ...order, kernels }));
          showOutcomes(context, outcomes);
          return;
        }
        const livepatch = await usingWorkshop(context, (used) => buildLivepatch(used, { ...order, kernel }));
        context.terminal.result(livepatch, (manifest) => buildText(manifest, out));
        context.exitWith(exitCode(livepatch));
      }),
    );
};

/** One result for several kernels; the exit code is that of the worst. */
function showOutcomes(context: Context, outcomes: readonly KernelOutcome[]): void {
  const kernels = outcomes.map(({ error, ...known }) => {
    const said = error && { code: error.code, message: error.message, hint: error.hint };
    return { ...known, ...(said === undefined ? {} : { error: said }) };
  });
  context.terminal.result({ kernels }, () => outcomes.map(outcomeText).join('\n\n'));
  context.exitWith(worstExit(outcomes));
}

/** What became of one kernel, for people. */
function outcomeText({ release, out, livepatch, error }: KernelOutcome): string {
  if (livepatch !== undefined) return buildText(livepatch, out);
  const lines = [`no livepatch for ${release}: ${error?.message ?? ''} [${error?.code ?? ''}]`];
  if (error?.hint !== undefined) lines.push(`  ${error.hint}`);
  return lines.join('\n');
}

/** Failed, then refused, then needs a review. */
export function worstExit(outcomes: readonly KernelOutcome[]): ExitCode {
  const codes = outcomes.map(({ livepatch }) => (livepatch === undefined ? exitCodes.failed : exitCode(livepatch)));
  const order = [exitCodes.failed, exitCodes.refused, exitCodes.needsReview];
  return order.find((code) => codes.includes(code)) ?? exitCodes.done;
}

/** Fixes of the store, by their ids. */
async function kept({ fixes }: Workshop, ids: readonly string[] = []): Promise<Fix[]> {
  const found: Fix[] = [];
  for (const id of ids) found.push(await fixes.open(id));
  return found;
}

/** Fixes that are used once: each has the name of its file. */
async function fromPatches(files: readonly string[] = [], terminal: Terminal): Promise<Fix[]> {
  const read: Fix[] = [];
  for (const file of files) {
    const id = basename(file).replace(/\.(?:patch|diff)$/, '');
    const fix = await importFromPatch({ id, severity: 'unknown', hardware: false }, file);
    for (const remark of remarks(fix)) terminal.note(`${file}: ${remark}`);
    read.push(fix);
  }
  return read;
}

function signingFiles({ signKey, signCert, signPassphraseFile }: BuildOptions): SigningKeyFiles | undefined {
  if (signKey !== undefined) return { key: signKey, certificate: signCert, passphrase: signPassphraseFile };
  if (signCert === undefined && signPassphraseFile === undefined) return undefined;
  throw new CliError('usage', '--sign-cert and --sign-passphrase-file need --sign-key');
}

function exitCode({ verdict, reviewAccepted }: Livepatch): ExitCode {
  if (verdict === 'refused') return exitCodes.refused;
  return verdict === 'needs-review' && !reviewAccepted ? exitCodes.needsReview : exitCodes.done;
}

/** The summary of a build for people. */
export function buildText(manifest: Livepatch, out: string): string {
  const { byteProof, file, signature } = manifest;
  const lines = [`${manifest.kind} livepatch ${manifest.id} for ${manifest.kernel.release}: ${manifest.verdict}`];
  for (const { name, functions, callbacks = [] } of manifest.objects) {
    const called = callbacks.map((entry) => `callbacks ${entry.name} (${entry.phases.join(', ')})`);
    lines.push(`  ${name}: ${[...functions.map((entry) => entry.name), ...called].join(', ')}`);
  }
  if (manifest.leftOut !== undefined)
    lines.push(`  left out, because this kernel is not built from it: ${manifest.leftOut.join(', ')}`);
  if (manifest.effectiveVersion !== undefined)
    lines.push(`  effective version: ${manifest.effectiveVersion} (as you stated)`);
  lines.push(`  byte proof: ${byteProof.equal} of ${byteProof.compared} functions equal the shipped kernel`);
  lines.push(...fixedText(manifest).map((line) => `  ${line}`));
  for (const reason of manifest.reasons) lines.push(`  ${reason.verdict} [${reason.code}]: ${reason.message}`);
  if (file !== undefined) lines.push(`  ${out}/${file.name} (${file.size} bytes, SHA-256 ${file.sha256})`);
  else if (manifest.verdict === 'needs-review')
    lines.push('  no module was written: read the reasons, then build with --accept-review');
  else lines.push('  no module was written');
  if (signature !== undefined) lines.push(`  signed for the kernel by ${signature.signer} (${signature.keyId})`);
  return lines.join('\n');
}

/** The comparison with the distribution's fixed kernels, for people. */
function fixedText({ fixedKernel }: Livepatch): string[] {
  if (fixedKernel === undefined) return ['not compared with a fixed kernel: the livepatch is refused'];
  const { compared, equal, kernels, different, notCompared } = fixedKernel;
  const names = kernels.map(({ release, version }) => `${release} (${version})`).join(', ');
  return [
    ...(compared === 0 ? [] : [`equal to the fixed kernel ${names}: ${equal} of ${compared} functions`]),
    // Those with a reason for review are shown as such.
    ...different
      .filter(({ cause }) => cause === 'own-file' || cause === 'line-numbers')
      .map(({ message }) => `  ${message}`),
    ...shortened(notCompared).map((why) => `not compared with a fixed kernel: ${why}`),
  ];
}

/** `FILE: REASON` of many files for one reason in one line: a changed header can reach dozens. */
function shortened(notCompared: readonly string[]): string[] {
  const groups = Map.groupBy(notCompared, (why) => why.replace(/^\S+\.[cS]: /, ''));
  return [...groups].map(([reason, all]) => {
    const [first = ''] = all;
    return all.length === 1
      ? first
      : `${all.length} files, ${first.slice(0, first.length - reason.length - 2)} first: ${reason}`;
  });
}
