import {
  DW_FORM_addr,
  DW_FORM_addrx,
  DW_FORM_addrx1,
  DW_FORM_addrx2,
  DW_FORM_addrx3,
  DW_FORM_addrx4,
  DW_FORM_block,
  DW_FORM_block1,
  DW_FORM_block2,
  DW_FORM_block4,
  DW_FORM_data1,
  DW_FORM_data2,
  DW_FORM_data4,
  DW_FORM_data8,
  DW_FORM_data16,
  DW_FORM_exprloc,
  DW_FORM_flag,
  DW_FORM_flag_present,
  DW_FORM_GNU_addr_index,
  DW_FORM_GNU_ref_alt,
  DW_FORM_GNU_str_index,
  DW_FORM_GNU_strp_alt,
  DW_FORM_implicit_const,
  DW_FORM_indirect,
  DW_FORM_line_strp,
  DW_FORM_loclistx,
  DW_FORM_ref_addr,
  DW_FORM_ref_sig8,
  DW_FORM_ref_sup4,
  DW_FORM_ref_sup8,
  DW_FORM_ref_udata,
  DW_FORM_ref1,
  DW_FORM_ref2,
  DW_FORM_ref4,
  DW_FORM_ref8,
  DW_FORM_rnglistx,
  DW_FORM_sdata,
  DW_FORM_sec_offset,
  DW_FORM_string,
  DW_FORM_strp,
  DW_FORM_strp_sup,
  DW_FORM_strx,
  DW_FORM_strx1,
  DW_FORM_strx2,
  DW_FORM_strx3,
  DW_FORM_strx4,
  DW_FORM_udata,
} from './constants.ts';
import { type Cursor, damaged } from './cursor.ts';

/** What a unit's header says about the sizes of its fields. */
export interface FieldSizes {
  readonly version: number;
  /** 4 in the 32-bit format, 8 in the 64-bit one (DWARF 5, 7.4). */
  readonly offsetSize: 4 | 8;
  readonly addressSize: number;
}

/**
 * Bytes of a form that has always as many; -1 for the others. Unknown forms are `dwarf-damaged`: what follows cannot be
 * found.
 */
export function fixedSize(form: number, unit: FieldSizes): number {
  switch (form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const:
      return 0;
    case DW_FORM_data1:
    case DW_FORM_flag:
    case DW_FORM_ref1:
    case DW_FORM_strx1:
    case DW_FORM_addrx1:
      return 1;
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2:
      return 2;
    case DW_FORM_strx3:
    case DW_FORM_addrx3:
      return 3;
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_ref_sup4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
      return 4;
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8:
      return 8;
    case DW_FORM_data16:
      return 16;
    case DW_FORM_addr:
      return unit.addressSize;
    case DW_FORM_strp:
    case DW_FORM_sec_offset:
    case DW_FORM_line_strp:
    case DW_FORM_strp_sup:
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_GNU_strp_alt:
      return unit.offsetSize;
    case DW_FORM_ref_addr:
      // Version 2 gave it the size of an address.
      return unit.version === 2 ? unit.addressSize : unit.offsetSize;
    case DW_FORM_block:
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
    case DW_FORM_exprloc:
    case DW_FORM_string:
    case DW_FORM_sdata:
    case DW_FORM_udata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_indirect:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index:
      return -1;
    default:
      throw damaged(`form 0x${form.toString(16)} is unknown`);
  }
}

/** Moves the cursor behind a value. */
export function skipForm(cursor: Cursor, form: number, unit: FieldSizes): void {
  switch (form) {
    case DW_FORM_block:
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
    case DW_FORM_exprloc:
      readBlock(cursor, form);
      return;
    case DW_FORM_string:
      cursor.skipText();
      return;
    case DW_FORM_indirect: {
      const real = cursor.uleb();
      if (real === DW_FORM_indirect || real === DW_FORM_implicit_const) throw damaged('an indirect form leads nowhere');
      skipForm(cursor, real, unit);
      return;
    }
    default: {
      const size = fixedSize(form, unit);
      if (size >= 0) cursor.take(size);
      else cursor.ulebBig();
    }
  }
}

/** An expression or a block of bytes; `undefined` for other forms. */
export function readBlock(cursor: Cursor, form: number): Buffer | undefined {
  const size = blockSize(cursor, form);
  if (size === undefined) return undefined;
  const start = cursor.take(size);
  return cursor.bytes.subarray(start, start + size);
}

function blockSize(cursor: Cursor, form: number): number | undefined {
  switch (form) {
    case DW_FORM_block1:
      return cursor.u8();
    case DW_FORM_block2:
      return cursor.u16();
    case DW_FORM_block4:
      return cursor.u32();
    case DW_FORM_block:
    case DW_FORM_exprloc:
      return cursor.uleb();
    default:
      return undefined;
  }
}

/** A number as it is stored; `undefined` for forms that hold something else. */
export function readConstant(cursor: Cursor, form: number): bigint | undefined {
  switch (form) {
    case DW_FORM_data1:
    case DW_FORM_flag:
      return BigInt(cursor.u8());
    case DW_FORM_data2:
      return BigInt(cursor.u16());
    case DW_FORM_data4:
      return BigInt(cursor.u32());
    case DW_FORM_data8:
      return cursor.big64();
    case DW_FORM_udata:
      return cursor.ulebBig();
    case DW_FORM_sdata:
      return cursor.sleb();
    default:
      return undefined;
  }
}
