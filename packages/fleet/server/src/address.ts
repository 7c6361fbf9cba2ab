import { BlockList, isIP } from 'node:net';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** An address as sockets take it: without the brackets that an address of IPv6 has in a URL. */
export function bareAddress(address: string): string {
  return /^\[(.*)\]$/.exec(address)?.[1] ?? address;
}

/** Whether only this machine reaches it; of any spelling (`[::1]`, `::ffff:127.0.0.1`, `0:0:0:0:0:0:0:1`). */
export function isLoopback(address: string): boolean {
  const bare = bareAddress(address);
  const family = isIP(bare);
  return family === 0 ? bare === 'localhost' : LOOPBACK.check(bare, family === 4 ? 'ipv4' : 'ipv6');
}
