import { DW_FORM_implicit_const } from './constants.ts';
import { type Cursor, damaged } from './cursor.ts';
import { type FieldSizes, fixedSize } from './forms.ts';

/** The shape of entries that use one code: DWARF 5, 7.5.3. */
export interface Abbreviation {
  readonly tag: number;
  readonly hasChildren: boolean;
  readonly attributes: readonly number[];
  /** Form of each attribute, by position. */
  readonly forms: readonly number[];
  /** Bytes of each attribute, by position; -1 where the entry itself says. */
  readonly sizes: readonly number[];
  /** Bytes before each attribute, by position; -1 where the entry itself says. */
  readonly places: readonly number[];
  /** Value of each `DW_FORM_implicit_const`, by position. */
  readonly constants: readonly (bigint | undefined)[];
  /** Bytes of all attributes together; -1 where that differs by entry. */
  readonly size: number;
}

/** Parses the table at the cursor's place. `spend` is told of every attribute, so that a limit on work holds. */
export function readAbbreviations(
  cursor: Cursor,
  unit: FieldSizes,
  spend: (steps: number) => void,
): Map<number, Abbreviation> {
  const table = new Map<number, Abbreviation>();
  for (;;) {
    const code = cursor.uleb();
    if (code === 0) return table;
    if (table.has(code)) throw damaged(`abbreviation ${code} is there twice`);
    table.set(code, readOne(cursor, unit, spend));
  }
}

function readOne(cursor: Cursor, unit: FieldSizes, spend: (steps: number) => void): Abbreviation {
  const tag = cursor.uleb();
  const hasChildren = cursor.u8() !== 0;
  const attributes: number[] = [];
  const forms: number[] = [];
  const sizes: number[] = [];
  const places: number[] = [];
  const constants: (bigint | undefined)[] = [];
  let total = 0;
  for (;;) {
    spend(1);
    const attribute = cursor.uleb();
    const form = cursor.uleb();
    const constant = form === DW_FORM_implicit_const ? cursor.sleb() : undefined;
    if (attribute === 0 && form === 0) break;
    const size = fixedSize(form, unit);
    attributes.push(attribute);
    forms.push(form);
    sizes.push(size);
    constants.push(constant);
    places.push(total);
    total = size < 0 || total < 0 ? -1 : total + size;
  }
  return { tag, hasChildren, attributes, forms, sizes, places, constants, size: total };
}
