import { BlockList, isIP } from 'node:net';
import { ServerError } from '../error.ts';

/**
 * Says of an address whether it is one of the operator's proxies; `hop` 0 is the socket's own, 1 the last of
 * X-Forwarded-For, and so on as long as the one before was.
 */
export type TrustsProxy = (address: string, hop: number) => boolean;

/**
 * The default of `--behind-proxy`: one proxy, on this machine. What a local client itself says is not taken for a
 * proxy's statement.
 */
export function localProxy(): TrustsProxy {
  const local = trustedProxies(['127.0.0.0/8', '::1']);
  return (address, hop) => hop === 0 && local(address, hop);
}

/**
 * Proxies by address or network (`192.0.2.7`, `2001:db8::/32`). What a connection from elsewhere says of itself in
 * X-Forwarded-For is never believed: anyone can write that header. Throws `proxy-invalid`.
 */
export function trustedProxies(networks: readonly string[]): TrustsProxy {
  const list = new BlockList();
  for (const network of networks) add(list, network);
  return (address) => {
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
  };
}

function add(list: BlockList, network: string): void {
  const [, address = '', bits] = /^\[?([0-9A-Fa-f:.]+)\]?(?:\/(\d{1,3}))?$/.exec(network) ?? [];
  const family = isIP(address);
  const most = family === 4 ? 32 : 128;
  const length = bits === undefined ? most : Number(bits);
  // A length of 0 would believe everyone.
  if (family === 0 || length < 1 || length > most) {
    throw new ServerError('proxy-invalid', `${network} is not an address or network`, {
      hint: 'e.g. 192.0.2.7 or 2001:db8::/32',
    });
  }
  list.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
}
