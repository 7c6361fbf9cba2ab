import { buildIdOf } from '@kmend/elf';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { buildIdOfNotes } from './notes.ts';

/**
 * Whether the module that is loaded under a name has the content of this file: both carry it as their GNU build id, and the kernel
 * shows that of what it loaded (kernel/module/sysfs.c, add_notes_attrs). A signature behind the file is no part of it. Throws
 * `content-differs`, also where one of them has none to compare.
 */
export async function assertSameContent({ files }: Edges, module: string, file: Uint8Array): Promise<void> {
  const notes = await files.bytes(`/sys/module/${module}/notes/.note.gnu.build-id`, 4096);
  const loaded = notes === undefined ? undefined : buildIdOfNotes(notes);
  const wanted = buildIdOf(file);
  if (wanted !== undefined && loaded === wanted) return;
  throw new AgentError(
    'content-differs',
    `${module} is loaded, and not known to be the signed livepatch of that name: its build id is ${loaded ?? 'not shown'}, ` +
      `signed is ${wanted ?? 'none'}`,
    { hint: `unload it (echo 0 > /sys/kernel/livepatch/${module}/enabled, then rmmod), or reboot` },
  );
}
