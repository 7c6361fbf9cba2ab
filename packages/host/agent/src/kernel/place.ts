import { isWholeUidMap, place } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

/**
 * Why the running kernel is not this system's to patch: a kernel that only writes a dump (kdump's capture kernel), a
 * container, a chroot, an image that is being built. `undefined`: it is. Looks without changing anything; what cannot
 * be read says nothing.
 */
export async function foreignKernel(edges: Edges): Promise<AgentError | undefined> {
  const { files } = edges;
  if (await files.exists(place.capture)) {
    return new AgentError(
      'capture-kernel',
      'this is a capture kernel, which only writes a crash dump (/proc/vmcore exists)',
      {
        hint: 'nothing to do: the agent continues at the next boot',
      },
    );
  }
  const why = (await container(edges)) ?? (await chroot(edges));
  if (why === undefined) return undefined;
  return new AgentError('foreign-kernel', `the running kernel belongs to another system: ${why}`, {
    hint: 'run the agent on the host itself; enrol images at the first boot of each host (docs/agent.md, "Images")',
  });
}

async function container({ files }: Edges): Promise<string | undefined> {
  for (const mark of place.containerMarks) if (await files.exists(mark)) return `a container (${mark} is there)`;
  const namespace = await files.link('/proc/self/ns/pid');
  if (namespace !== undefined && namespace !== place.firstPidNamespace)
    return 'a container (a process namespace of its own)';
  const map = await files.text('/proc/self/uid_map');
  return map === undefined || isWholeUidMap(map) ? undefined : 'a container (a user namespace of its own)';
}

async function chroot({ files }: Edges): Promise<string | undefined> {
  const mine = await files.identity('/');
  const first = await files.identity('/proc/1/root/');
  if (mine !== undefined && first !== undefined && mine !== first) return 'a chroot (process 1 has another root)';
  return (await files.isDirectory('/run/systemd/system'))
    ? undefined
    : 'systemd does not run here (an image, or a chroot)';
}

/** Throws `capture-kernel` or `foreign-kernel` where nothing may be done to the running kernel. */
export async function assertOwnKernel(edges: Edges): Promise<void> {
  const foreign = await foreignKernel(edges);
  if (foreign !== undefined) throw foreign;
}
