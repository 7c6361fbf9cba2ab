import { SHT_NOTE } from './constants.ts';
import type { ElfFile } from './model.ts';

/** One entry of a note section (gABI, "Note Section"). */
export interface Note {
  readonly owner: string;
  readonly type: number;
  readonly content: Uint8Array;
}

const NT_GNU_BUILD_ID = 3;

/** The entries of one note blob; a malformed rest is left out. `/sys/kernel/notes` has the same form. */
export function readNotes(data: Uint8Array): Note[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const notes: Note[] = [];
  let at = 0;
  while (at + 12 <= data.length) {
    const nameSize = view.getUint32(at, true);
    const contentSize = view.getUint32(at + 4, true);
    const name = at + 12;
    const content = name + Math.ceil(nameSize / 4) * 4;
    const end = content + Math.ceil(contentSize / 4) * 4;
    if (content + contentSize > data.length) break;
    const owner = Buffer.from(data.subarray(name, name + Math.max(0, nameSize - 1))).toString('latin1');
    notes.push({ owner, type: view.getUint32(at + 8, true), content: data.subarray(content, content + contentSize) });
    at = end;
  }
  return notes;
}

/** The GNU build id in hex, if a note section has one. */
export function buildId(file: ElfFile): string | undefined {
  for (const section of file.sections) {
    if (section.type !== SHT_NOTE) continue;
    const found = readNotes(section.data).find((note) => note.owner === 'GNU' && note.type === NT_GNU_BUILD_ID);
    if (found !== undefined) return Buffer.from(found.content).toString('hex');
  }
  return undefined;
}
