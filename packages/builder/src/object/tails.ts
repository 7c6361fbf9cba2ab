import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import {
  type ElfFile,
  isPcRelative,
  type Section,
  SHF_EXECINSTR,
  STT_FUNC,
  STT_OBJECT,
  STT_SECTION,
  sectionOf,
} from '@kmend/elf';
import type { Tail } from './view.ts';

/**
 * Where the instructions of an object end, for the few relocations whose meaning depends on it: relative ones against a section
 * that several variables share, in an instruction that may have an immediate behind the field. Asks objdump only if there are any.
 */
export async function instructionTails(run: Run, path: string, file: ElfFile, signal: AbortSignal): Promise<Tail> {
  const shared = sharedSections(file);
  const sections = file.sections.filter(
    (section) =>
      (section.flags & SHF_EXECINSTR) !== 0 &&
      section.relocations.some(({ symbol, type }) => {
        const place = sectionOf(symbol);
        return symbol.type === STT_SECTION && isPcRelative(type) && place !== undefined && shared.has(place);
      }),
  );
  if (sections.length === 0) return () => 4;
  const ends = new Map<string, number[]>();
  const args = ['-d', '-w', '--no-show-raw-insn', ...new Set(sections.map(({ name }) => `--section=${name}`)), path];
  const text = (await runOk(run, 'objdump', args, { signal, maxOutput: 512 << 20 })).toString('latin1');
  let current: number[] = [];
  for (const line of text.split('\n')) {
    const heading = /^Disassembly of section (.*):$/.exec(line)?.[1];
    if (heading !== undefined) {
      current = [];
      ends.set(heading, current);
    }
    const start = /^\s+([0-9a-f]+):\t/.exec(line)?.[1];
    if (start !== undefined) current.push(Number.parseInt(start, 16));
  }
  return (section: Section, fieldOffset: number) => {
    const starts = ends.get(section.name);
    if (starts === undefined) return 4;
    const next = starts.find((start) => start > fieldOffset) ?? section.size;
    return next - fieldOffset;
  };
}

function sharedSections(file: ElfFile): Set<Section> {
  const counts = new Map<Section, number>();
  for (const symbol of file.symbols) {
    const section = sectionOf(symbol);
    if (section === undefined || (symbol.type !== STT_FUNC && symbol.type !== STT_OBJECT)) continue;
    counts.set(section, (counts.get(section) ?? 0) + 1);
  }
  return new Set(
    [...counts]
      .filter(([section, count]) => count > 1 && (section.flags & SHF_EXECINSTR) === 0)
      .map(([section]) => section),
  );
}
