import { readFile, stat } from 'node:fs/promises';
import { errorText } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { ElfError, type ElfFile, ET_REL, readElf } from '@kmend/elf';
import { BuilderError } from '../error.ts';
import type { ComparedFile } from './model.ts';

/** More than the largest module with debug information; a file that claims to be larger is not read. */
const LARGEST = 1 << 30;

export interface ReadObject {
  readonly identity: ComparedFile;
  readonly file: ElfFile;
}

/**
 * Reads one of the objects. Errors: `object-unreadable`, `object-unsupported`, and those of the ELF reader, each with
 * the path.
 */
export async function readObject(path: string): Promise<ReadObject> {
  const bytes = await readBytes(path);
  if (
    startsWith(bytes, [0x1f, 0x8b]) ||
    startsWith(bytes, [0xfd, 0x37, 0x7a]) ||
    startsWith(bytes, [0x28, 0xb5, 0x2f])
  ) {
    throw new BuilderError('object-unsupported', `${path} is compressed`, {
      hint: 'unpack it first: xz -dk, zstd -d or gzip -dk',
    });
  }
  try {
    const file = readElf(bytes);
    if (file.type !== ET_REL) {
      throw new BuilderError('object-unsupported', `${path} is linked already`, {
        hint: 'compare takes relocatable objects: .o files of the build, or .ko modules',
      });
    }
    return { identity: { path, sha256: sha256(bytes) }, file };
  } catch (error) {
    if (error instanceof ElfError) throw new ElfError(error.code, `${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    // Asked before it is opened: opening a pipe would wait for its other end.
    const found = await stat(path);
    if (!found.isFile()) throw new Error('it is not a regular file');
    if (found.size > LARGEST) throw new Error(`it has ${found.size} bytes, more than any object`);
    return await readFile(path);
  } catch (error) {
    throw new BuilderError('object-unreadable', `${path} cannot be read: ${errorText(error)}`, { cause: error });
  }
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}

/** The name of a module, from its own description (`name=` in `.modinfo`); `undefined` for other objects. */
export function moduleName(file: ElfFile): string | undefined {
  const section = file.sections.find(({ name }) => name === '.modinfo');
  if (section === undefined || !file.sections.some(({ name }) => name === '.gnu.linkonce.this_module'))
    return undefined;
  const fields = Buffer.from(section.data).toString('latin1').split('\0');
  return fields.find((field) => field.startsWith('name='))?.slice('name='.length);
}
