import { readFile, stat } from 'node:fs/promises';
import { errorCode, errorText, type Run } from '@kmend/base';
import { type ElfFile, readElf, STT_FILE, STT_SECTION, sectionOf } from '@kmend/elf';
import { decodeKallsyms, extractVmlinux, structLayouts } from '@kmend/kernel/image';
import { BuilderError } from '../error.ts';
import { type StructSizes, tableStructs } from '../object/tables.ts';

/** What a running kernel calls its parts: vmlinux, and whatever modules the list knows. */
export interface SymbolList {
  /** How many symbols of a name there are, by owner (`vmlinux`, or a module). */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Names that modules can link to; `undefined` where the list does not tell. */
  readonly exports: ReadonlySet<string> | undefined;
  /** Entry sizes of tables, where the list is a kernel with type information. */
  readonly structs: StructSizes;
}

const LARGEST = 2 ** 31 - 1;

/** Reads a vmlinux, a vmlinuz, a System.map, or what `/proc/kallsyms` shows. Errors: `symbols-unreadable`. */
export async function readSymbolList(run: Run, path: string, signal: AbortSignal): Promise<SymbolList> {
  const unreadable = (why: string, cause?: unknown): BuilderError =>
    new BuilderError('symbols-unreadable', `${path}: ${why}`, {
      ...(cause !== undefined && { cause }),
      hint: 'wanted is a vmlinux, a vmlinuz, a System.map, or a copy of /proc/kallsyms',
    });
  const bytes = await readRegular(path, signal).catch((error: unknown) => {
    throw signal.aborted ? error : unreadable(errorText(error), error);
  });
  try {
    if (bytes.length > 4 && bytes.readUInt32BE(0) === 0x7f454c46) return fromVmlinux(bytes);
    if (bytes.length > 0x206 && bytes.toString('latin1', 0x202, 0x206) === 'HdrS')
      return fromVmlinux(await extractVmlinux(run, bytes, signal));
  } catch (error) {
    if (signal.aborted || errorCode(error) === undefined) throw error;
    throw unreadable(errorText(error), error);
  }
  const list = fromText(bytes.toString('latin1'));
  if (list === undefined) throw unreadable('it is no list of symbols');
  return list;
}

async function readRegular(path: string, signal: AbortSignal): Promise<Buffer> {
  const found = await stat(path);
  if (!found.isFile()) throw new Error('it is not a regular file');
  if (found.size > LARGEST) throw new Error(`it has ${found.size} bytes, more than is read`);
  return await readFile(path, { signal });
}

function fromVmlinux(bytes: Uint8Array): SymbolList {
  const file = readElf(bytes);
  const own = file.symbols.filter(
    (symbol) => symbol.name !== '' && symbol.type !== STT_SECTION && symbol.type !== STT_FILE && isPlaced(symbol),
  );
  const names = (own.length > 0 ? own : decodeKallsyms(bytes)).map(({ name }) => name);
  return listOf(new Map([['vmlinux', names]]), structsOf(file));
}

function isPlaced(symbol: ElfFile['symbols'][number]): boolean {
  return sectionOf(symbol) !== undefined;
}

function structsOf(file: ElfFile): StructSizes {
  return file.sections.some(({ name }) => name === '.BTF') ? structLayouts(file, tableStructs) : new Map();
}

/** `address type name`, and for a module's symbols its name in brackets behind a tab. */
function fromText(text: string): SymbolList | undefined {
  const names = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const match = /^[0-9a-f]{1,16} \S (\S+)(?:\t\[([^\]]+)\])?\r?$/.exec(line);
    if (match === null) return undefined;
    const [, name = '', owner = 'vmlinux'] = match;
    const list = names.get(owner);
    if (list === undefined) names.set(owner, [name]);
    else list.push(name);
  }
  return names.size === 0 ? undefined : listOf(names, new Map());
}

function listOf(names: ReadonlyMap<string, readonly string[]>, structs: StructSizes): SymbolList {
  const counts = new Map<string, Map<string, number>>();
  const exports = new Set<string>();
  for (const [owner, list] of names) {
    const own = new Map<string, number>();
    for (const name of list) {
      own.set(name, (own.get(name) ?? 0) + 1);
      if (name.startsWith('__ksymtab_')) exports.add(name.slice('__ksymtab_'.length));
    }
    counts.set(owner, own);
  }
  return { counts, exports: exports.size === 0 ? undefined : exports, structs };
}
