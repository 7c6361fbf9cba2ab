import { BuildId } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

const NT_GNU_BUILD_ID = 3;

/**
 * The GNU build id in a buffer of ELF notes (gABI chapter 5: three 32-bit words namesz, descsz, type, then name and
 * descriptor, each padded to 4 bytes), lower-case hex; `undefined` where there is none or the notes are cut short.
 */
export function buildIdOfNotes(notes: Uint8Array): string | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  let at = 0;
  while (at + 12 <= notes.length) {
    const nameSize = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const name = at + 12;
    const start = name + padded(nameSize);
    if (start + size > notes.length) return undefined;
    const isGnu = nameSize === 4 && Buffer.from(notes.subarray(name, name + 4)).toString('latin1') === 'GNU\0';
    if (isGnu && type === NT_GNU_BUILD_ID) return Buffer.from(notes.subarray(start, start + size)).toString('hex');
    at = start + padded(size);
  }
  return undefined;
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}

/** Build id of the running kernel, from `/sys/kernel/notes` (kernel/ksysfs.c). */
export async function runningBuildId(edges: Edges): Promise<BuildId> {
  const notes = await edges.files.bytes('/sys/kernel/notes', 65_536);
  const parsed = BuildId.safeParse(notes === undefined ? undefined : buildIdOfNotes(notes));
  if (!parsed.success) {
    throw new AgentError('kernel-unknown', 'the running kernel does not say its build id in /sys/kernel/notes', {
      hint: 'kmend needs the build id to identify the kernel; boot a kernel built with `ld --build-id=sha1`',
    });
  }
  return parsed.data;
}
