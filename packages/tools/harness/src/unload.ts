import type { Host } from '@kmend/lab';

/**
 * Unloads the module of a reverted livepatch. The kernel lets go of it a moment after the transition
 * (kernel/livepatch/core.c, klp_free_patch_async).
 */
export async function unload(host: Host, module: string): Promise<void> {
  const script = 'for i in $(seq 100); do said=$(rmmod "$1" 2>&1) && exit 0; sleep 0.1; done; echo "$said" >&2; exit 1';
  await host.check(['/bin/sh', '-c', script, 'sh', module]);
}
