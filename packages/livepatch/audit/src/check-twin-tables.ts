import type { Address } from './address.ts';
import type { Beside } from './check-twins.ts';
import type { Findings } from './finding.ts';
import type { SameThing } from './same-thing.ts';
import type { Simulation } from './simulation.ts';
import { entriesOf, shippedEntries, type TableEntry } from './table-entries.ts';
import { type Aim, TABLES, type TableShape } from './table-shapes.ts';
import type { Twin } from './twin.ts';

/** Of calls of the tracer the shipped files keep no instruction, and of texts no place. */
const LEFT_OUT = new Set(['__mcount_loc', '__dyndbg', '.ibt_endbr_seal']);

/**
 * Compares the tables of the livepatch with those of the shipped and the fixed kernels: where an instruction stands in
 * code that one of them has as well, its entry is there too, and leads to the same places.
 */
export function checkTwinTables(
  all: readonly Beside[],
  { world, loaded, own }: Simulation,
  same: SameThing,
  findings: Findings,
): void {
  const beside = new Map(all.flatMap((one) => one.functions.map(({ address }) => [address, one] as const)));
  for (const section of loaded.file.sections) {
    const shape = TABLES[section.name];
    const base = loaded.base(section);
    if (shape === undefined || base === undefined || LEFT_OUT.has(section.name)) continue;
    const layout = shape.struct === undefined ? undefined : world.layouts.get(shape.struct);
    const entries = entriesOf({ name: section.name, shape, layout }, loaded.memory(section), base);
    for (const [index, entry] of entries.entries()) {
      const [place = 0] = entry.targets;
      const found = own.functionAt(place);
      const one = found === undefined ? undefined : beside.get(found.function.address);
      if (found === undefined || one === undefined) continue;
      const why = faultOf(one, (twin) => compareWith({ name: section.name, shape, entry }, twin, same));
      if (why !== undefined) {
        findings.add(
          'table-astray',
          `${section.name}, entry ${index}, of ${found.function.name}+0x${found.offset.toString(16)}: ${why}`,
          { symbol: found.function.name },
        );
      }
    }
  }
}

type Compared =
  | 'same'
  | 'unknown'
  /** `elsewhere`: an entry is there and leads to another place. */
  | { readonly elsewhere: boolean; readonly why: string };

/** Fixed kernels have to have the same entries. In the shipped kernel a fix may have an instruction lead elsewhere. */
function faultOf({ shipped, fixed }: Beside, compared: (twin: Twin) => Compared): string | undefined {
  const results = fixed.map(compared);
  const before = shipped === undefined ? 'unknown' : compared(shipped);
  if (typeof before === 'string' || !before.elsewhere) results.push(before);
  if (results.includes('same')) return undefined;
  const differing = results.find((one) => typeof one === 'object');
  return typeof differing === 'object' ? differing.why : undefined;
}

interface OwnEntry {
  /** Of the table's section. */
  readonly name: string;
  readonly shape: TableShape;
  readonly entry: TableEntry;
}

function compareWith({ name, shape, entry: { targets } }: OwnEntry, twin: Twin, same: SameThing): Compared {
  const [place = 0] = targets;
  const there = twin.address(place);
  if (there === undefined) return 'unknown';
  const { release } = twin.world.kernel;
  const entries = shippedEntries(twin.world, twin.object, name).get(there);
  if (entries === undefined)
    return { elsewhere: false, why: `the kernel ${release} has no entry for this instruction` };
  const leadsAlike = (aim: Aim, [here, other]: readonly [Address, Address]): boolean => {
    if (aim === 'key') {
      const [mark, mark2] = [here & 3, other & 3];
      return mark === mark2 && same.is(here - mark, other - mark2, twin) !== false;
    }
    return aim !== 'code' || (twin.address(here) ?? other) === other;
  };
  const differs = (entry: TableEntry): Aim | undefined =>
    shape.fields.find(({ aim }, index) => {
      const [here, other] = [targets[index], entry.targets[index]];
      return index > 0 && here !== undefined && other !== undefined && !leadsAlike(aim, [here, other]);
    })?.aim;
  const aims = entries.map(differs);
  if (aims.includes(undefined)) return 'same';
  return { elsewhere: true, why: `what the entry leads to differs from the kernel ${release}'s (${aims[0]})` };
}
