import { createHmac } from 'node:crypto';
import type { Edges } from '../edges/edges.ts';

/** Keys the hash, so that it is of use to kmend alone (machine-id(5): the id itself must not leave the machine). */
const KEY = 'kmend machine-id 1';

/**
 * Names this machine without telling its id; `null` where it has none (an image before its first boot: empty, or
 * `uninitialized`).
 */
export async function readMachineId(edges: Edges): Promise<string | null> {
  const id = (await edges.files.text('/etc/machine-id', 4096))?.trim() ?? '';
  if (!/^[0-9a-f]{32}$/.test(id) || /^0+$/.test(id)) return null;
  return createHmac('sha256', KEY).update(id).digest('hex');
}
