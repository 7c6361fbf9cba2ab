import type { StructLayout } from '@kmend/kernel';
import type { Address } from './address.ts';
import { ABSOLUTE, TABLES, type TableShape } from './table-shapes.ts';
import type { World } from './world.ts';

/**
 * An entry of a table: what each of its fields leads to, in their order; the first is the place that the entry is
 * about.
 */
export interface TableEntry {
  readonly targets: readonly Address[];
}

export interface Table {
  /** Of its section. */
  readonly name: string;
  readonly shape: TableShape;
  readonly layout: StructLayout | undefined;
}

/** The entries of a table that lies in memory at an address. */
export function entriesOf({ name, shape, layout }: Table, bytes: Uint8Array, base: Address): TableEntry[] {
  const size = shape.size ?? layout?.size;
  if (size === undefined) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isAbsolute = ABSOLUTE.has(name);
  const fields = shape.fields.flatMap(({ member, offset = layout?.members.get(member ?? ''), wide = false }) =>
    offset === undefined ? [] : [{ offset, wide }],
  );
  const found: TableEntry[] = [];
  for (let entry = 0; entry + size <= bytes.length; entry += size) {
    const targets = fields.map(({ offset, wide }) => {
      const value = wide ? Number(view.getBigInt64(entry + offset, true)) : view.getInt32(entry + offset, true);
      return isAbsolute ? value : base + entry + offset + value;
    });
    found.push({ targets });
  }
  return found;
}

const known = new WeakMap<World, Map<string, ReadonlyMap<Address, readonly TableEntry[]>>>();

/** The entries of a table of a shipped object by the place that they are about. */
export function shippedEntries(
  world: World,
  object: string,
  name: string,
): ReadonlyMap<Address, readonly TableEntry[]> {
  const tables = known.get(world) ?? new Map<string, ReadonlyMap<Address, readonly TableEntry[]>>();
  known.set(world, tables);
  const key = `${object} ${name}`;
  const found = tables.get(key) ?? read(world, object, name);
  tables.set(key, found);
  return found;
}

function read(world: World, object: string, name: string): Map<Address, TableEntry[]> {
  const found = new Map<Address, TableEntry[]>();
  const shape = TABLES[name];
  if (shape === undefined) return found;
  const layout = shape.struct === undefined ? undefined : world.layouts.get(shape.struct);
  for (const { start, end } of placesOf(world, object, name, shape)) {
    const bytes = world.read(start, end - start);
    for (const entry of bytes === undefined ? [] : entriesOf({ name, shape, layout }, bytes, start)) {
      const [place = 0] = entry.targets;
      const there = found.get(place);
      if (there === undefined) found.set(place, [entry]);
      else there.push(entry);
    }
  }
  return found;
}

function placesOf(
  world: World,
  object: string,
  name: string,
  { bounds }: TableShape,
): { readonly start: Address; readonly end: Address }[] {
  if (object !== 'vmlinux')
    return (world.module(object)?.sections(name) ?? []).map(({ section, base }) => ({
      start: base,
      end: base + section.size,
    }));
  const section = world.section(name);
  if (section !== undefined) return [section];
  const [start, end] = (bounds ?? []).map((symbol) => world.symbol(symbol));
  return start === undefined || end === undefined ? [] : [{ start, end }];
}
