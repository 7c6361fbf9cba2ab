/** A function of an object as one key, its cold part (gcc's `name.cold`) counted to it: `vmlinux tcp_ack`. */
export function functionKey(object: string, name: string): string {
  return `${object} ${name.replace(/\.cold(\.\d+)?$/, '')}`;
}
