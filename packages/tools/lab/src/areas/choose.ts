import type { PatchedObject } from '@kmend/protocol';

/**
 * A part of a kernel that can be exercised: a script of `guest/areas` with one of its arguments; `system`: the program
 * `guest/exercise.c`.
 */
export interface Area {
  readonly script: (typeof SCRIPTS)[number];
  readonly part: string;
}

const SCRIPTS = ['system', 'files', 'network', 'netfilter', 'block', 'kernel'] as const;

/** Source files, by the beginning of their path in the kernel's source, and the parts that use their code. */
const USES: readonly (readonly [RegExp, ...string[]])[] = [
  [/^fs\/(ext2|ext4|xfs|btrfs|f2fs|nilfs2|gfs2|ocfs2|jfs|udf|minix|exfat|isofs|squashfs|erofs|fuse|nfs)\//, 'files:$1'],
  [
    /^fs\/[^/]+\.c$|^(?:block|crypto|io_uring|ipc|kernel|mm|security)\/|^net\/(?:core|ipv4|ipv6|netlink|packet|unix)\/(?!netfilter\/)/,
    'system:all',
  ],
  [/^fs\/overlayfs\//, 'files:overlay'],
  [/^fs\/(?:adfs|affs|befs|bfs|cramfs|efs|freevxfs|hfs|hfsplus|hpfs|omfs|qnx4|qnx6|romfs|sysv|ufs)\//, 'files:foreign'],
  [/^fs\/pstore\//, 'files:pstore'],
  [/^fs\/(fat|nls)\//, 'files:vfat'],
  [/^fs\/(?:smb\/client|smb\/common|cifs|smbfs_common)\//, 'files:smb'],
  [/^fs\/(?:smb\/server|smb\/common|ksmbd|smbfs_common)\//, 'files:ksmbd'],
  [/^fs\/(lockd|nfs_common|nfsd)\/|^net\/sunrpc\//, 'files:nfs'],
  [/^fs\/jbd2\//, 'files:ext4', 'files:ocfs2'],
  [/^fs\/iomap\//, 'files:xfs', 'files:gfs2'],
  [/^fs\/quota\//, 'files:ext4', 'files:f2fs', 'files:ocfs2'],
  [/^fs\/(exportfs|crypto|verity|unicode)\//, 'files:ext4', 'files:nfs'],
  [
    /^fs\/(?:notify\/|sysfs\/|kernfs\/|debugfs\/|configfs\/|proc\/|ramfs\/|tracefs\/|devpts\/|[^/]+\.c$)/,
    'files:ext4',
    'files:tmpfs',
    'files:overlay',
    'kernel:processes',
  ],
  [/^fs\/hugetlbfs\/|^fs\/userfaultfd\.c$/, 'kernel:memory'],
  [/^fs\/dlm\//, 'files:gfs2', 'files:ocfs2'],
  [/^mm\//, 'kernel:memory', 'files:tmpfs', 'block:swap'],
  [/^mm\/(?:memory-failure|hwpoison|madvise|rmap|hugetlb)/, 'kernel:poison'],
  [/^mm\/(?:backing-dev|page-writeback|readahead|filemap)/, 'files:ext4', 'block:groups'],
  [/^mm\/zsmalloc|^mm\/z|^mm\/swap|^drivers\/block\/zram\//, 'block:swap'],
  [/^block\//, 'block:queues', 'block:groups', 'block:mapper', 'files:ext4'],
  [/^drivers\/md\/(?:md|raid)/, 'block:md'],
  [/^drivers\/md\//, 'block:mapper', 'block:md'],
  [/^drivers\/block\//, 'block:queues', 'block:nbd', 'files:ext4'],
  [/^io_uring\//, 'kernel:uring', 'block:queues'],
  [/^ipc\//, 'kernel:memory', 'kernel:processes'],
  [/^kernel\/trace\/|^kernel\/(?:tracepoint|kprobes|events)/, 'kernel:tracing'],
  [/^kernel\/audit|^security\/lsm_audit/, 'kernel:audit'],
  [/^kernel\/bpf\/|^net\/core\/(?:filter|sock_map|skmsg|xdp)/, 'kernel:bpf'],
  [/^kernel\/cgroup\//, 'kernel:memory', 'block:groups', 'kernel:processes'],
  [/^kernel\/(?:taskstats|delayacct|tsacct)/, 'kernel:accounting'],
  [/^kernel\/(?:padata|module)|^crypto\//, 'kernel:crypto'],
  [/^kernel\/(?:module|params)/, 'kernel:testers'],
  [/^kernel\//, 'kernel:processes'],
  [/^crypto\/authenc|^crypto\/(?:echainiv|seqiv|ccm|gcm)/, 'network:ipsec'],
  [/^drivers\/crypto\/|^arch\/x86\/crypto\/|^lib\/(?:crypto|mpi|lz4|zstd|zlib|raid6)/, 'kernel:crypto'],
  [/^lib\/ts_|^net\/netfilter\/xt_string/, 'netfilter:iptables4'],
  [/^lib\//, 'kernel:testers', 'kernel:crypto', 'kernel:keys'],
  [/^security\/keys\/|^crypto\/asymmetric_keys\//, 'kernel:keys'],
  [/^security\//, 'kernel:integrity', 'kernel:keys', 'kernel:audit'],
  [
    /^net\/(?:core|ipv4|ipv6|netlink|packet|unix|ethtool|sched|mptcp)\/(?!netfilter\/)/,
    'network:basics',
    'network:sockets',
  ],
  [/^net\/ipv[46]\/tcp|^net\/core\/(?:gro|skbuff|sock)/, 'network:lossy'],
  [
    /^net\/ipv4\/(?:route|fib|nexthop|icmp|ip_options|igmp|ipmr)|^net\/ipv6\/(?:route|ip6_fib|icmp|mcast|addrconf|ndisc|exthdrs)|^net\/core\/(?:neighbour|rtnetlink|fib|dst)/,
    'network:routes',
  ],
  [/^net\/ipv6\/(?:seg6|rpl|ioam6|exthdrs)/, 'network:seg6'],
  [/^net\/ipv[46]\/(?:ah|esp|xfrm|ipcomp|ip6_vti|ip_vti|udp)|^net\/xfrm\//, 'network:ipsec'],
  [
    /^net\/ipv4\/(?:ip_tunnel|ip_gre|ipip|ip_vti|udp_tunnel|fou|gre)|^net\/ipv6\/(?:sit|ip6_tunnel|ip6_gre|ip6_vti|ip6_udp_tunnel|fou6)|^drivers\/net\/(?:vxlan|geneve|bareudp|gtp|wireguard)|^net\/(?:l2tp|mpls)\/|^net\/core\/(?:gro|flow_dissector)|^net\/ipv4\/udp/,
    'network:tunnels',
  ],
  [
    /^net\/(?:8021q|bridge|hsr|batman-adv)\/|^drivers\/net\/(?:bonding|team|macvlan|ipvlan|macsec|veth|tun|dummy|ifb|vrf|macvtap|tap|netdevsim)|^net\/core\/(?:rtnetlink|dev|skbuff|gro)|^net\/ipv[46]\/(?:udp_offload|tcp_offload)/,
    'network:links',
  ],
  [/^net\/sched\/|^net\/core\/(?:flow_dissector|filter)/, 'network:traffic'],
  [/^net\/ipv4\/netfilter\/arp/, 'netfilter:arp'],
  [/^net\/ipv4\/netfilter\/|^net\/netfilter\/xt_/, 'netfilter:iptables4'],
  [/^net\/ipv6\/netfilter\/|^net\/netfilter\/xt_/, 'netfilter:iptables6'],
  [/^net\/bridge\/netfilter\//, 'netfilter:bridge'],
  [/^net\/(?:ipv[46]\/)?netfilter\/(?:nf|core|utils|ipset)/, 'netfilter:nft'],
  [/^net\/(?:mac80211|wireless|mac802154|ieee802154)\/|^drivers\/net\/wireless\//, 'network:wireless'],
  [
    /^net\/(?:tipc|rds|sctp|dccp|can|vmw_vsock|x25|ax25|netrom|rose|atm|llc|phonet|caif|smc|qrtr|rxrpc|appletalk|nfc|bluetooth|kcm|key|9p|mctp)\//,
    'network:protocols',
    'network:sockets',
  ],
  [/^sound\//, 'kernel:sound'],
  [/^drivers\/usb\//, 'kernel:usb'],
];

/** The parts of a kernel that use what a livepatch patches, by the sources of its functions: not always all of them. */
export function chooseAreas(objects: readonly PatchedObject[]): Area[] {
  const names = new Set<string>();
  for (const { source } of objects.flatMap(({ functions }) => functions)) {
    for (const [pattern, ...uses] of USES) {
      const found = pattern.exec(source);
      if (found !== null) for (const use of uses) names.add(use.replace('$1', found[1] ?? ''));
    }
  }
  return [...names].map(areaOf).sort((one, other) => areaName(one).localeCompare(areaName(other)));
}

export function areaName({ script, part }: Area): string {
  return `${script}:${part}`;
}

function areaOf(name: string): Area {
  const [script, part] = name.split(':');
  const known = SCRIPTS.find((one) => one === script);
  if (known === undefined || part === undefined) throw new Error(`${name} names no area`);
  return { script: known, part };
}
