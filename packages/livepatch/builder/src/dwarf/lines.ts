import { DW_FORM_line_strp, DW_FORM_string, DW_FORM_strp, DW_LNCT_directory_index, DW_LNCT_path } from './constants.ts';
import { type Cursor, damaged } from './cursor.ts';
import { type FieldSizes, fixedSize, readConstant, skipForm } from './forms.ts';
import type { Strings } from './strings.ts';

/**
 * The file names of a line table's header (DWARF 5, 6.2.4), by the numbers that `DW_AT_decl_file` uses: from 0 in
 * version 5, from 1 before. Each with its directory, unless that is the one the compiler ran in.
 */
export function readFileNames(cursor: Cursor, strings: Strings, spend: (steps: number) => void): string[] {
  const offsetSize = cursor.u32() === 0xffff_ffff ? 8 : 4;
  if (offsetSize === 8) cursor.take(8);
  const version = cursor.u16();
  if (version < 2 || version > 5) throw damaged(`a line table is of version ${version}`);
  if (version >= 5) cursor.take(2);
  cursor.take(offsetSize);
  // minimum_instruction_length, maximum_operations_per_instruction (since version 4), default_is_stmt, line_base,
  // line_range
  cursor.take(version >= 4 ? 5 : 4);
  const opcodes = cursor.u8();
  cursor.take(Math.max(opcodes - 1, 0));
  if (version < 5) return readLists(cursor, spend);
  const sizes: FieldSizes = { version, offsetSize, addressSize: 8 };
  const directories = readTable(cursor, sizes, strings, spend);
  const files = readTable(cursor, sizes, strings, spend);
  return files.map(({ path, directory }) => inDirectory(directory === 0 ? '' : directories[directory]?.path, path));
}

/** Versions 2 to 4: two lists of strings, each ended by an empty one. */
function readLists(cursor: Cursor, spend: (steps: number) => void): string[] {
  const directories = [''];
  for (let name = cursor.text(); name !== ''; name = cursor.text()) {
    spend(1);
    directories.push(name);
  }
  const files = [''];
  for (let name = cursor.text(); name !== ''; name = cursor.text()) {
    spend(1);
    files.push(inDirectory(directories[cursor.uleb()], name));
    cursor.ulebBig();
    cursor.ulebBig();
  }
  return files;
}

interface FileEntry {
  readonly path: string;
  readonly directory: number;
}

/** Version 5: a table that says by itself what columns it has. */
function readTable(cursor: Cursor, sizes: FieldSizes, strings: Strings, spend: (steps: number) => void): FileEntry[] {
  const columns = Array.from({ length: cursor.u8() }, () => ({ content: cursor.uleb(), form: cursor.uleb() }));
  const entries: FileEntry[] = [];
  for (let left = cursor.uleb(); left > 0; left--) {
    spend(1 + columns.length);
    let path = '';
    let directory = 0;
    for (const { content, form } of columns) {
      if (content === DW_LNCT_path) path = readPath(cursor, form, sizes, strings);
      else if (content === DW_LNCT_directory_index) directory = Number(readConstant(cursor, form) ?? 0n);
      else skipForm(cursor, form, sizes);
    }
    entries.push({ path, directory });
  }
  return entries;
}

function readPath(cursor: Cursor, form: number, sizes: FieldSizes, strings: Strings): string {
  if (form === DW_FORM_string) return cursor.text();
  if (form !== DW_FORM_line_strp && form !== DW_FORM_strp) {
    throw damaged(`a file name of a line table has form 0x${form.toString(16)}`);
  }
  const offset = cursor.unsigned(fixedSize(form, sizes));
  return form === DW_FORM_line_strp ? strings.lineAt(offset) : strings.at(offset);
}

function inDirectory(directory: string | undefined, name: string): string {
  return directory === undefined || directory === '' || name.startsWith('/') ? name : `${directory}/${name}`;
}
