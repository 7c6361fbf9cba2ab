import { type Abbreviation, readAbbreviations } from './abbreviations.ts';
import { DW_UT_compile, DW_UT_partial, DW_UT_skeleton, DW_UT_split_compile, DW_UT_type } from './constants.ts';
import { type Cursor, damaged } from './cursor.ts';
import type { FieldSizes } from './forms.ts';
import type { Joined } from './sections.ts';

/** One unit of .debug_info or .debug_types (DWARF 5, 7.5.1). Offsets count in the joined sections. */
export interface Unit extends FieldSizes {
  readonly offset: number;
  readonly end: number;
  readonly kind: 'compile' | 'type';
  readonly abbreviations: ReadonlyMap<number, Abbreviation>;
  /** Of the unit's own entry. */
  readonly firstEntry: number;
  /** What `DW_FORM_ref_sig8` names it by, and its type's entry: of type units. */
  readonly signature?: bigint;
  readonly typeOffset?: number;
}

/** Reads all unit headers, and each abbreviation table once. */
export function readUnits(info: Joined, abbreviations: Cursor, spend: (steps: number) => void): Unit[] {
  const tables = new Map<string, Map<number, Abbreviation>>();
  const tableOf = (offset: number, sizes: FieldSizes): Map<number, Abbreviation> => {
    const key = [offset, sizes.version === 2, sizes.offsetSize, sizes.addressSize].join();
    let table = tables.get(key);
    if (table === undefined) {
      abbreviations.at = offset;
      table = readAbbreviations(abbreviations, sizes, spend);
      tables.set(key, table);
    }
    return table;
  };
  const units: Unit[] = [];
  for (const { section, start, end } of info.pieces) {
    info.cursor.at = start;
    while (info.cursor.at < end) {
      const unit = readUnit(info.cursor, end, section.name === '.debug_types', tableOf);
      info.cursor.at = unit.end;
      units.push(unit);
    }
  }
  return units;
}

function readUnit(
  cursor: Cursor,
  limit: number,
  isTypes: boolean,
  tableOf: (offset: number, sizes: FieldSizes) => Map<number, Abbreviation>,
): Unit {
  const offset = cursor.at;
  let length = cursor.u32();
  const offsetSize = length === 0xffff_ffff ? 8 : 4;
  if (offsetSize === 8) length = cursor.u64();
  else if (length >= 0xffff_fff0) throw damaged(`a unit at ${offset} has the reserved length ${length}`);
  const end = cursor.at + length;
  if (end > limit) throw damaged(`a unit at ${offset} ends at ${end}, its section at ${limit}`);
  const version = cursor.u16();
  if (version < 2 || version > 5) throw damaged(`a unit at ${offset} is of DWARF version ${version}`);
  const type = version >= 5 ? cursor.u8() : isTypes ? DW_UT_type : DW_UT_compile;
  let abbreviationOffset = 0;
  let addressSize: number;
  if (version >= 5) {
    addressSize = cursor.u8();
    abbreviationOffset = cursor.unsigned(offsetSize);
  } else {
    abbreviationOffset = cursor.unsigned(offsetSize);
    addressSize = cursor.u8();
  }
  if (addressSize !== 8) throw damaged(`a unit at ${offset} has addresses of ${addressSize} bytes`);
  const sizes: FieldSizes = { version, offsetSize, addressSize };
  const signed =
    type === DW_UT_type ? { signature: cursor.big64(), typeOffset: offset + cursor.unsigned(offsetSize) } : {};
  if (type === DW_UT_skeleton || type === DW_UT_split_compile) cursor.take(8);
  else if (type !== DW_UT_type && type !== DW_UT_compile && type !== DW_UT_partial) {
    throw damaged(`a unit at ${offset} is of the unknown type ${type}`);
  }
  if (cursor.at > end) throw damaged(`a unit at ${offset} ends inside its header`);
  return {
    ...sizes,
    offset,
    end,
    kind: type === DW_UT_type ? 'type' : 'compile',
    abbreviations: tableOf(abbreviationOffset, sizes),
    firstEntry: cursor.at,
    ...signed,
  };
}
