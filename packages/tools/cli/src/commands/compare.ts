import { run } from '@kmend/base/node';
import type { ChangedItem, Changes, Difference, Item, ObjectComparison } from '@kmend/builder';
import { compareObjects } from '@kmend/builder/compare';
import { type ExitCode, exitCodes } from '../error.ts';
import type { Register } from '../program.ts';

export const compareCommand: Register = ({ program, action }) => {
  program
    .command('compare')
    .description('Compare two objects of one unit or module: what changed, and whether a livepatch could do it.')
    .argument('<original>', 'Relocatable object: a .o of the build, or a .ko')
    .argument('<patched>', 'The same unit or module, patched')
    .option(
      '--symbols <file>',
      'vmlinux, vmlinuz, System.map or kallsyms, to check that symbols exist, once, and are exported',
    )
    .action(
      action(async (context, original: string, patched: string, { symbols }: { readonly symbols?: string }) => {
        const request = { original, patched, ...(symbols !== undefined && { symbols }) };
        const comparison = await compareObjects({ run, signal: context.signal }, request);
        context.terminal.result(comparison, describe);
        context.exitWith(exitCode(comparison));
      }),
    );
};

function exitCode({ verdict }: ObjectComparison): ExitCode {
  if (verdict === 'refused') return exitCodes.refused;
  return verdict === 'needs-review' ? exitCodes.needsReview : exitCodes.done;
}

function describe(comparison: ObjectComparison): string {
  const { functions, data, reasons, checks } = comparison;
  const verdict = comparison.verdict === 'unchanged' ? 'no change' : comparison.verdict;
  const lines = [`${comparison.module ?? comparison.patched.path}: ${verdict}`];
  lines.push(...section('functions', functions), ...section('data', data));
  const needed = comparison.references.filter(({ standing }) => standing !== 'exported');
  if (comparison.references.length > 0) {
    const names = needed.map(({ name, standing }) => (standing === 'absent' ? `${name} (absent)` : name));
    lines.push(
      `  refers to ${comparison.references.length} symbols of the kernel, ${needed.length} not known as exported`,
    );
    if (names.length > 0) lines.push(`    ${names.join(', ')}`);
  }
  for (const reason of reasons) lines.push(`  ${reason.verdict} [${reason.code}]: ${reason.message}`);
  for (const { check, made, note } of checks) lines.push(`  ${made ? 'checked' : 'not checked'}: ${check}: ${note}`);
  return lines.join('\n');
}

function section(title: string, { same, lineMoved, changed, added, removed }: Changes): string[] {
  const lines = lineMoved.length === 0 ? '' : `${lineMoved.length} of which only the line moved, `;
  const counts = `${same} the same, ${lines}${changed.length} changed, ${added.length} new, ${removed.length} removed`;
  return [
    `  ${title}: ${counts}`,
    ...lineMoved.map(({ name, line }) => `    = ${name}: only the line moved, ${line.original} -> ${line.patched}`),
    ...changed.flatMap(changedLines),
    ...added.map((item) => `    + ${itemText(item)}`),
    ...removed.map((item) => `    - ${itemText(item)}`),
  ];
}

function itemText({ name, section: place, size }: Item): string {
  return `${name} (${place}, ${size} bytes)`;
}

function changedLines(item: ChangedItem): string[] {
  const size = item.originalSize === item.size ? `${item.size}` : `${item.originalSize} -> ${item.size}`;
  const lines = [
    `    ~ ${item.name} (${item.section}, ${size} bytes)${nameText(item)}${kernelText(item)}`,
    ...differenceLines(item.difference),
  ];
  if (item.gained.length > 0) lines.push(`        now also: ${item.gained.join(', ')}`);
  if (item.lost.length > 0) lines.push(`        no longer: ${item.lost.join(', ')}`);
  return lines;
}

function nameText({ originalName }: ChangedItem): string {
  return originalName === undefined ? '' : `, in the original ${originalName}`;
}

function kernelText({ inKernel }: ChangedItem): string {
  switch (inKernel?.state) {
    case 'absent':
      return ': not in the kernel';
    case 'ambiguous':
      return `: ${inKernel.count} of this name in the kernel`;
    default:
      return '';
  }
}

function differenceLines(difference: Difference): string[] {
  const hex = (offset: number): string => `+0x${offset.toString(16)}`;
  switch (difference.kind) {
    case 'instruction': {
      const where = difference.part === undefined ? '' : `${difference.part} `;
      return [
        `        first at ${where}${hex(difference.offset)}`,
        `        - ${difference.original ?? '(ends)'}`,
        `        + ${difference.patched ?? '(ends)'}`,
      ];
    }
    case 'content':
      return [`        at ${hex(difference.offset)}: ${difference.original} -> ${difference.patched}`];
    case 'size':
      return [`        size ${difference.original} -> ${difference.patched}`];
    case 'entries':
      return [`        ${difference.table}: ${difference.original} -> ${difference.patched} entries`];
    case 'entry': {
      const { table, index, offset, original, patched } = difference;
      return [`        ${table}, its entry ${index}, at ${hex(offset)}: ${original} -> ${patched}`];
    }
    case 'prototype-hash':
      return ['        the hash of its prototype'];
    case 'section':
      return [`        moved from ${difference.original} to ${difference.patched}`];
  }
}
