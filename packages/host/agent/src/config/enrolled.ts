import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { readMachineId } from '../kernel/machine.ts';

/** `damaged`: the file that is there and cannot be understood. */
export function notEnrolled(damaged?: string): AgentError {
  return new AgentError('not-enrolled', damaged === undefined ? 'this host is not enrolled' : `${damaged} is damaged`, {
    hint: 'kmend-agent enrol --server URL --key-file FILE --root FILE',
  });
}

/** Throws `other-machine` where `machine` is known, this machine's is too, and they differ. */
export async function assertThisMachine(edges: Edges, machine: string | null): Promise<void> {
  const mine = await readMachineId(edges);
  if (machine === null || mine === null || machine === mine) return;
  throw new AgentError(
    'other-machine',
    'another machine was enrolled with this identity (/etc/machine-id differs): this is a clone of it',
    {
      hint: 'kmend-agent enrol --again makes it a host of its own; enrol images at the first boot of each host (docs/agent.md, "Images")',
    },
  );
}
