/**
 * What a call to the kernel failed with for what the host lacks, by the words that end the tool's complaint
 * (strerror(3); kmod sets no locale): it says nothing of the livepatch. Anything else is the kernel's refusal of that
 * livepatch, which is then quarantined.
 */
export type HostRefusal =
  | 'memory-low'
  | 'disk-full'
  | 'disk-read-only'
  | 'disk-failing'
  | 'conflict-transition'
  | 'conflict-module'
  | 'not-permitted'
  | 'key-untrusted';

export const hostRefusals: readonly (readonly [words: string, means: HostRefusal])[] = [
  ['Cannot allocate memory', 'memory-low'],
  ['No space left on device', 'disk-full'],
  ['Read-only file system', 'disk-read-only'],
  ['Input/output error', 'disk-failing'],
  // kernel/livepatch/core.c, klp_enable_patch: one transition at a time.
  ['Device or resource busy', 'conflict-transition'],
  // kernel/module/main.c, add_unformed_module: one of its name is there.
  ['File exists', 'conflict-module'],
  // may_init_module, security_kernel_read_file: before the kernel has looked at the module.
  ['Operation not permitted', 'not-permitted'],
  // kernel/module/signing.c, module_sig_check.
  ['Key was rejected by service', 'key-untrusted'],
  ['Required key not available', 'key-untrusted'],
];

/** What insmod's complaint says of the host; `undefined`: the kernel refused the livepatch itself. */
export function hostRefusalOf(said: string): HostRefusal | undefined {
  return hostRefusals.find(([words]) => said.endsWith(`: ${words}`))?.[1];
}
