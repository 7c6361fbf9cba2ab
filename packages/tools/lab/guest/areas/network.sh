# Networks of their own: links, tunnels, addresses, routes, diagnosis. Arguments: the parts.
. "${0%/*}/lib.sh"

# Two name spaces, kmend-a and kmend-b, with a pair of links between them.
pair() { (set -e; pair_up) || exit 1; }
pair_up() {
  for ns in kmend-a kmend-b; do ip netns del $ns 2>/dev/null || true; ip netns add $ns; ip -n $ns link set lo up; done
  ip -n kmend-a link add v0 type veth peer name v0 netns kmend-b
  ip -n kmend-a addr add 192.0.2.1/24 dev v0; ip -n kmend-b addr add 192.0.2.2/24 dev v0
  ip -n kmend-a addr add 2001:db8::1/64 dev v0 nodad; ip -n kmend-b addr add 2001:db8::2/64 dev v0 nodad
  for ns in kmend-a kmend-b; do ip -n $ns link set v0 up; ip netns exec $ns sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.accept_source_route=1 net.ipv4.ping_group_range="0 1000"; done
}
a() { ip netns exec kmend-a "$@"; }
b() { ip netns exec kmend-b "$@"; }
unpair() { ip netns del kmend-a; ip netns del kmend-b; }
# Traffic of several kinds from a to an address of b.
talk() { # ADDRESS
  retry a ping -q -c 3 -i 0.2 -W 2 -s 3000 "$1"
  may a ping -q -c 1 -W 1 -f -s 100 "$1"
  b fio --name=s --ioengine=net --listen --port=9000 --protocol="$2" --rw=read --size=2m --bs=16k >/dev/null 2>&1 & server=$!
  sleep 1
  may a timeout 20 fio --name=c --ioengine=net --hostname="$1" --port=9000 --protocol="$2" --rw=write --size=2m --bs=16k
  sleep 0.3; kill $server 2>/dev/null || true; wait $server || true
}

basics() {
  pair
  talk 192.0.2.2 tcp; talk 2001:db8::2 tcpv6
  a ping -q -c 2 -i 0.2 -R 192.0.2.2; a ping -q -c 1 -T tsonly 192.0.2.2; may a ping -c 1 -W 1 -T tsprespec 192.0.2.1 192.0.2.2; may a ping -c 1 -W 1 192.0.2.2 192.0.2.2
  may a ping -c 1 -W 1 192.0.2.99; may a ping -c 1 -W 1 -t 1 198.51.100.1; may a ping -c 1 -W 1 -M do -s 9000 192.0.2.2
  may a ping -c 1 -W 1 ff02::1%v0; may a ping -c 1 -W 1 2001:db8::99; may a ping -N name -c 1 -W 1 2001:db8::2
  for n in 0 1 2 3; do a sysctl -qw net.ipv4.icmp_echo_enable_probe=1 net.ipv4.tcp_fastopen=3 net.ipv4.tcp_mtu_probing=1 net.ipv4.tcp_ecn=1 net.ipv4.tcp_recovery=1 net.ipv4.tcp_early_retrans=3 || true; done
  for f in /proc/net/* /proc/net/stat/*; do [ -f "$f" ] && a cat "$f" >/dev/null 2>&1; done || true
  a find /proc/sys/net -type f -perm -400 -exec cat {} + >/dev/null 2>&1 || true
  a sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.ip_local_port_range="20000 40000" net.ipv4.ip_unprivileged_port_start=80 net.ipv4.tcp_available_congestion_control 2>/dev/null || true
  a sysctl -qw net.ipv4.tcp_fastopen_key=1-2-3-4 net.ipv4.tcp_allowed_congestion_control=reno net.ipv4.fib_multipath_hash_policy=1 net.ipv4.ip_local_reserved_ports=21000-21010 || true
  ss -tanemiop >/dev/null; ss -uanemi >/dev/null; ss -xanmp >/dev/null; ss -0 -anemp >/dev/null; may ss --netlink >/dev/null; ss -w -a >/dev/null; may ss -K dst 127.0.0.9
  a ip -s neigh; a ip neigh add 192.0.2.50 lladdr 02:00:00:00:00:01 dev v0; a ip neigh change 192.0.2.50 lladdr 02:00:00:00:00:02 dev v0; a ip neigh get 192.0.2.50 dev v0; a ip neigh del 192.0.2.50 dev v0; a ip neigh add proxy 192.0.2.60 dev v0; a ip neigh show proxy; a ip neigh flush all
  a ip ntable show; may a ip ntable change name arp_cache dev v0 queue 10; a ip maddr; a ip -6 maddr; a ip maddr add 01:00:5e:00:00:05 dev v0; a ip addr show; a ip netconf show; a ip -6 token; a ip -d -s -s link; a ip addrlabel
  a ip -6 addr change 2001:db8::1/64 dev v0 valid_lft 1000 preferred_lft 500; a ip link set v0 mtu 1400; a ip link set v0 alias kmend; a ip link property add dev v0 altname second; a ip link set v0 group 5; may a ip link set v0 xdp off; a ip link afstats >/dev/null 2>&1 || true; a ip stats show >/dev/null 2>&1 || true
  a ip link set v0 gso_max_size 30000 gro_max_size 30000; a ip link set v0 txqueuelen 500; a ip link set v0 allmulticast on promisc on; a ip link set v0 addrgenmode random; for ns in a b; do $ns ip link set v0 mtu 1280; done; talk 192.0.2.2 tcp
  unpair
}
lossy() {
  pair; module sch_netem
  a tc qdisc add dev v0 root netem delay 10ms 5ms loss 10% duplicate 3% reorder 20% corrupt 2%
  talk 192.0.2.2 tcp; talk 2001:db8::2 tcpv6
  a sysctl -qw net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0; talk 192.0.2.2 tcp; a sysctl -qw net.ipv4.tcp_recovery=0 net.ipv4.tcp_sack=1; talk 192.0.2.2 tcp
  unpair
}
routes() {
  pair
  a ip route add 198.51.100.0/24 via 192.0.2.2; a ip route add 203.0.113.0/24 nexthop via 192.0.2.2 weight 1 nexthop via 192.0.2.3 weight 2; a ip -6 route add 2001:db8:1::/48 nexthop via 2001:db8::2 nexthop via 2001:db8::3
  for type in blackhole unreachable prohibit throw; do a ip route add $type 10.9.0.0/24; may a ping -c 1 -W 1 10.9.0.1; a ip route del $type 10.9.0.0/24; may a ip -6 route add $type 2001:db8:9::/64; may a ping -c 1 -W 1 2001:db8:9::1; may a ip -6 route del $type 2001:db8:9::/64; done
  a ip nexthop add id 1 via 192.0.2.2 dev v0; a ip nexthop add id 2 via 192.0.2.3 dev v0; a ip nexthop add id 10 group 1/2; may a ip nexthop add id 11 group 1/2 type resilient buckets 8 idle_timer 10; a ip nexthop add id 20 blackhole; a ip nexthop add id 3 via 2001:db8::2 dev v0
  a ip nexthop replace id 10 group 1,3/2,5; a ip nexthop replace id 2 via 192.0.2.4 dev v0; a ip nexthop get id 10; a ip nexthop show; may a ip nexthop bucket show; a ip route add 10.7.0.0/16 nhid 10; a ip -6 route add 2001:db8:7::/48 nhid 3; may a ping -c 1 -W 1 10.7.0.1; a ip nexthop del id 1; a ip nexthop flush
  a ip rule add from 192.0.2.1 table 100; a ip rule add fwmark 7 lookup 101; a ip -6 rule add from 2001:db8::1 table 100; a ip route add default via 192.0.2.2 table 100; a ip route get 198.51.100.9; a ip route get 203.0.113.5 from 192.0.2.1; a ip route get 192.0.2.2 mark 7 ipproto udp dport 53; a ip -6 route get 2001:db8:1::5; a ip route show table all; a ip -6 route show table all; a ip -6 route show cache; a ip route show cache; a ip rule; a ip -6 route flush table 100; a ip route flush cache
  a ip route add 10.8.0.0/16 via 192.0.2.2 mtu 1300 advmss 1200 initcwnd 5; b ip addr add 10.8.0.1/16 dev lo; a ping -q -c 2 -i 0.2 -s 3000 10.8.0.1; a ip route show cache
  a ip mroute show; may a ip tcp_metrics show; may a ip -6 route add 2001:db8:5::/48 via 2001:db8::2 expires 100; a ip -6 route del 2001:db8:1::/48; a ip link set v0 down; a ip link set v0 up; a sysctl -qw net.ipv6.conf.v0.disable_ipv6=1; a sysctl -qw net.ipv6.conf.v0.disable_ipv6=0
  # An ICMP redirect, and one that tells of a smaller MTU.
  a ip link set v0 mtu 1500; b ip link set v0 mtu 1500; b ip link add s0 mtu 1280 type dummy; b ip link set s0 up; b ip addr add 10.6.0.1/24 dev s0; b ip -6 addr add 2001:db8:6::1/64 dev s0; a ip route add 10.6.0.0/24 via 192.0.2.2; may a ip -6 addr add 2001:db8::1/64 dev v0 nodad; may a ip -6 route add 2001:db8:6::/64 via 2001:db8::2; may a ping -c 2 -W 1 -M do -s 1400 10.6.0.9; may a ping -c 2 -W 1 -M do -s 1400 2001:db8:6::9; a ip route get 10.6.0.9; a ip route show cache
  b sysctl -qw net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.v0.send_redirects=1; a ip route add 10.5.0.0/24 via 192.0.2.2; b ip route add 10.5.0.0/24 via 192.0.2.77; may a ping -c 2 -W 1 10.5.0.1
  unpair
}
seg6() {
  pair
  for ns in a b; do $ns sysctl -qw net.ipv6.conf.all.seg6_enabled=1 net.ipv6.conf.v0.seg6_enabled=1 net.ipv6.conf.lo.seg6_enabled=1; done
  b ip -6 addr add fc00::b/128 dev lo; a ip -6 addr add fc00::a/128 dev lo; a ip -6 route add fc00::b via 2001:db8::2; b ip -6 route add fc00::a via 2001:db8::1
  may a ip sr hmac set 17 sha256 </dev/null; may a sh -c 'printf "key\n" | ip sr hmac set 18 sha1'; may a ip sr hmac show; may a ip sr tunsrc set fc00::a; may a ip sr tunsrc show
  may a ip -6 route add fc00:1::/64 encap seg6 mode encap segs 2001:db8::2,fc00::b dev v0; may a ip -6 route add fc00:2::/64 encap seg6 mode inline segs fc00::b dev v0; may a ip -6 route add fc00:3::/64 encap seg6 mode encap segs fc00::b hmac 18 dev v0; may a ip route add 10.99.0.0/24 encap seg6 mode encap segs fc00::b dev v0; may a ip -6 route add fc00:4::/64 encap seg6 mode l2encap segs fc00::b dev v0
  b ip -6 addr add fc00:1::1/64 dev lo; b ip -6 addr add fc00:2::1/64 dev lo; b ip -6 addr add fc00:3::1/64 dev lo
  for to in fc00:1::1 fc00:2::1 fc00:3::1; do may a ping -c 2 -i 0.2 -W 1 $to; done; may a ping -c 1 -W 1 10.99.0.1
  may b ip -6 route add fc00:b::100 encap seg6local action End dev v0; may b ip -6 route add fc00:b::101 encap seg6local action End.DT6 table 254 dev v0; may a ip -6 route add fc00:b::/64 via 2001:db8::2; may a ping -c 1 -W 1 fc00:b::100
  a ip -6 route show; a ip -6 route flush root fc00:1::/64
  may a ip -6 route add 2001:db8:a::/64 encap ioam6 trace prealloc type 0x800000 ns 1 size 12 dev v0; may a ping -c 1 -W 1 2001:db8:a::1; may a ip -6 route add 2001:db8:b::/64 encap rpl segs 2001:db8::2 dev v0; may a ping -c 1 -W 1 2001:db8:b::1
  unpair
}
tunnels() {
  pair
  n=0
  while read -r name family options; do
    n=$((n + 1))
    [ -n "$name" ] || continue
    local_a=192.0.2.1 local_b=192.0.2.2; [ "$family" = 6 ] && local_a=2001:db8::1 local_b=2001:db8::2
    # shellcheck disable=SC2086
    if a ip link add t$n type $name local $local_a remote $local_b $options && b ip link add t$n type $name local $local_b remote $local_a $options; then
      a ip addr add 10.1.$n.1/24 dev t$n; b ip addr add 10.1.$n.2/24 dev t$n; a ip link set t$n up; b ip link set t$n up
      may a ip addr add fd00:$n::1/64 dev t$n nodad; may b ip addr add fd00:$n::2/64 dev t$n nodad
      may a ping -q -c 2 -i 0.2 -W 1 -s 2000 10.1.$n.2; may a ping -q -c 2 -i 0.2 -W 1 fd00:$n::2; may a ip link change t$n type $name local $local_a remote $local_b $options; a ip -d -s link show t$n
      may a ip link change t$n type $name local $local_a remote $local_b $options ttl 33; may a ip tunnel show; may a ip -6 tunnel show; may a ip -6 tunnel change t$n ttl 20; may a ip link set t$n mtu 1300; a ip link set t$n down; a ip link del t$n; b ip link del t$n
    fi
  done <<END
ipip 4 
ipip 4 mode any ttl 64
sit 4 
sit 4 mode any
gre 4 
gre 4 key 7 seq csum
gretap 4 key 9
erspan 4 seq key 5 erspan_ver 1 erspan 7
erspan 4 seq key 5 erspan_ver 2 erspan_dir egress erspan_hwid 3
vti 4 key 3
ip6tnl 6 mode any
ip6tnl 6 mode ip4ip6 encaplimit none
ip6gre 6 
ip6gre 6 key 7 seq csum
ip6gretap 6 key 8
ip6erspan 6 seq key 5 erspan_ver 1 erspan 7
vti6 6 key 4
vxlan 4 id 5 dev v0 dstport 4789
vxlan 6 id 6 dev v0 dstport 4790 udp6zerocsumtx udp6zerocsumrx
END
  for kind in "geneve id 7" "bareudp dstport 6635 ethertype mpls_uc" "geneve id 8 udpcsum"; do
    # shellcheck disable=SC2086
    set -- $kind; kind=$1; shift
    remote_a= remote_b=; [ "$kind" = geneve ] && remote_a="remote 192.0.2.2" remote_b="remote 192.0.2.1"
    # shellcheck disable=SC2086
    if a ip link add g0 type $kind "$@" $remote_a && b ip link add g0 type $kind "$@" $remote_b; then a ip addr add 10.2.0.1/24 dev g0; b ip addr add 10.2.0.2/24 dev g0; a ip link set g0 up; b ip link set g0 up; may a ping -q -c 2 -i 0.2 -W 1 10.2.0.2; a ip link del g0; b ip link del g0; fi
  done
  # Metadata mode: the route says where the tunnel goes.
  for kind in vxlan geneve gre; do may a ip link add e0 type $kind external && { may a ip link set e0 up; may a ip route add 10.3.0.0/24 encap ip id 30 dst 192.0.2.2 dev e0; may a ping -c 1 -W 1 10.3.0.1; may a ip route add 10.4.0.0/24 encap ip6 id 31 dst 2001:db8::2 dev e0; may a ping -c 1 -W 1 10.4.0.1; a ip route show; a ip link del e0; }; done
  if modprobe -q fou; then may a ip fou add port 5555 ipproto 4; may b ip fou add port 5555 ipproto 4; may a ip fou add port 5556 gue; a ip fou show; may a ip link add f0 type ipip local 192.0.2.1 remote 192.0.2.2 encap fou encap-sport auto encap-dport 5555 && may b ip link add f0 type ipip local 192.0.2.2 remote 192.0.2.1 encap fou encap-sport auto encap-dport 5555 && { a ip addr add 10.5.1.1/24 dev f0; b ip addr add 10.5.1.2/24 dev f0; a ip link set f0 up; b ip link set f0 up; may a ping -q -c 2 -i 0.2 -W 1 10.5.1.2; }; may a ip fou del port 5555; fi
  may a ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap udp local 192.0.2.1 remote 192.0.2.2 udp_sport 1701 udp_dport 1701; may a ip l2tp add session tunnel_id 1 session_id 1 peer_session_id 1; may a ip l2tp show session; may a ip l2tp del tunnel tunnel_id 1
  if command -v wg >/dev/null && modprobe -q wireguard; then
    wg genkey >ka; wg genkey >kb; a ip link add w0 type wireguard; b ip link add w0 type wireguard
    a wg set w0 listen-port 5820 private-key ka peer "$(wg pubkey <kb)" endpoint 192.0.2.2:5820 allowed-ips 10.77.0.0/24; b wg set w0 listen-port 5820 private-key kb peer "$(wg pubkey <ka)" endpoint 192.0.2.1:5820 allowed-ips 10.77.0.0/24
    a ip addr add 10.77.0.1/24 dev w0; b ip addr add 10.77.0.2/24 dev w0; a ip link set w0 up; b ip link set w0 up; talk 10.77.0.2 tcp; a wg show >/dev/null
  fi
  unpair
}
ipsec() {
  pair
  # The first of a name's drivers from here on: on other processors, and later (crypto/pcrypt.c, crypto/cryptd.c).
  for driver in "cryptd(hmac(sha1-generic)) 15" "pcrypt(authencesn(hmac(sha1-generic),cbc(aes-generic))) 3" "pcrypt(rfc4106(gcm_base(ctr(aes-generic),ghash-generic))) 3"; do may timeout 20 modprobe -q tcrypt alg="${driver% *}" type="${driver##* }" mask=15; done
  for family in 4 6; do
    from=192.0.2.1 to=192.0.2.2; [ $family = 6 ] && from=2001:db8::1 to=2001:db8::2
    n=0
    while read -r proto mode more; do
      n=$((n + 1)); [ -n "$proto" ] || continue
      ok=1
      for ns in a b; do
        # shellcheck disable=SC2086
        $ns ip xfrm state add src $from dst $to proto $proto spi 0x$n$family reqid $n mode $mode $more &&
          $ns ip xfrm state add src $to dst $from proto $proto spi 0x1$n$family reqid $n mode $mode $more || { ok=0; echo "$proto $mode $more" >>"$log/refused"; }
      done
      if [ $ok = 1 ]; then
        a ip xfrm policy add src $from dst $to dir out tmpl src $from dst $to proto "$proto" reqid $n mode "$mode"; a ip xfrm policy add src $to dst $from dir in tmpl src $to dst $from proto "$proto" reqid $n mode "$mode"
        b ip xfrm policy add src $to dst $from dir out tmpl src $to dst $from proto "$proto" reqid $n mode "$mode"; b ip xfrm policy add src $from dst $to dir in tmpl src $from dst $to proto "$proto" reqid $n mode "$mode"
        may a ping -q -c 2 -i 0.2 -W 1 -s 2500 $to; may a ping -c 1 -W 1 -s 9000 $to; a ip -s xfrm state >/dev/null; a ip xfrm policy >/dev/null
        [ "$n" = 1 ] && talk $to "$([ $family = 6 ] && echo tcpv6 || echo tcp)"
        # Too large for the path: the error comes back to the state.
        b ip xfrm monitor >/dev/null 2>&1 & mon=$!; sleep 0.1; kill $mon
      fi
      for ns in a b; do $ns ip xfrm policy flush; $ns ip xfrm state flush; done
    done <<END
esp transport auth-trunc hmac(sha256) 0x0102030405060708091011121314151617181920212223242526272829303132 128 enc cbc(aes) 0x01020304050607080910111213141516
esp tunnel aead rfc4106(gcm(aes)) 0x0102030405060708091011121314151617181920 128
esp tunnel flag esn replay-window 64 auth-trunc hmac(sha1) 0x0102030405060708091011121314151617181920 96 enc cbc(aes) 0x01020304050607080910111213141516
esp transport flag esn replay-window 64 aead rfc4106(gcm(aes)) 0x0102030405060708091011121314151617181920 128
esp beet auth-trunc hmac(sha1) 0x0102030405060708091011121314151617181920 96 enc cbc(aes) 0x01020304050607080910111213141516
ah transport auth-trunc hmac(sha1) 0x0102030405060708091011121314151617181920 96
ah tunnel auth-trunc hmac(sha256) 0x0102030405060708091011121314151617181920212223242526272829303132 128
ah transport flag esn replay-window 64 auth-trunc hmac(sha1) 0x0102030405060708091011121314151617181920 96
comp transport comp deflate
END
  done
  # In UDP and in TCP (RFC 3948, RFC 8229), and through an interface.
  for ns in a b; do may $ns ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x77 mode transport aead 'rfc4106(gcm(aes))' 0x0102030405060708091011121314151617181920 128 encap espinudp 4500 4500 0.0.0.0; done
  may a ip xfrm policy add src 192.0.2.1 dst 192.0.2.2 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode transport; may a ping -c 1 -W 1 192.0.2.2
  may a ip link add x0 type xfrm dev v0 if_id 42; may a ip link set x0 up; may a ping -c 1 -W 1 -I x0 10.0.0.1; may a ip link add vti1 type vti6 local 2001:db8::1 remote 2001:db8::2 key 42; may a ip link set vti1 up; may a ip link del vti1
  a ip xfrm monitor & mon=$!; sleep 0.2; kill $mon; may a ip xfrm state allocspi src 192.0.2.1 dst 192.0.2.2 proto esp min 0x100 max 0x200; may a ip xfrm state count; may a ip xfrm policy count; may a ip xfrm policy set hthresh4 24 32
  unpair
}
links() {
  pair
  a ip link add br0 type bridge vlan_filtering 1 stp_state 1 mcast_snooping 1; for i in 1 2 3; do a ip link add d$i type dummy; a ip link set d$i master br0 up; done; a ip link set br0 up
  a bridge vlan add dev d1 vid 10-12; a bridge vlan show; a bridge fdb add 02:00:00:00:00:05 dev d1 master; a bridge fdb show; may a bridge mdb add dev br0 port d2 grp 239.1.1.1 permanent; may a bridge mdb show; a bridge link set dev d2 cost 50; a bridge link show; may a bridge fdb get 02:00:00:00:00:05 br br0; a ip -d link show br0; a ip link set br0 type bridge stp_state 0 ageing_time 500; a ip link del br0
  b ip link add br1 type bridge mcast_snooping 1 mcast_querier 1 mcast_query_interval 100; b ip link set v0 master br1; b ip link set br1 up; b ip addr add 2001:db8:2::1/64 dev br1 nodad; sleep 3; a ip -6 maddr; b ip link del br1
  for mode in balance-rr active-backup balance-xor broadcast 802.3ad balance-tlb balance-alb; do may a ip link add bond0 type bond mode $mode miimon 50 || continue; for i in 1 2; do a ip link set d$i down; may a ip link set d$i master bond0; done; a ip link set bond0 up; a ip addr add 10.20.0.1/24 dev bond0; may a ping -c 1 -W 1 10.20.0.9; cat /proc/net/bonding/* >/dev/null 2>&1 || true; may a ip link set d1 nomaster; a ip link del bond0; done
  may a ip link add team0 type team; may a ip link set team0 up; may a ip link del team0
  a ip link add link v0 name v0.5 type vlan id 5; b ip link add link v0 name v0.5 type vlan id 5; a ip addr add 10.21.0.1/24 dev v0.5; b ip addr add 10.21.0.2/24 dev v0.5; a ip link set v0.5 up; b ip link set v0.5 up; a ping -q -c 1 -W 2 10.21.0.2; may a ip link add link v0 name q0 type vlan proto 802.1ad id 6; cat /proc/net/vlan/* >/dev/null 2>&1 || true
  for mode in bridge private vepa passthru source; do may a ip link add link d3 name m0 type macvlan mode $mode && { may a ip link set m0 up; a ip link del m0; }; done; for mode in l2 l3 l3s; do may a ip link add link v0 name i0 type ipvlan mode $mode && { may a ip addr add 192.0.2.77/24 dev i0; may a ip link set i0 up; may a ping -c 1 -W 1 -I i0 192.0.2.2; a ip link del i0; }; done
  may a ip link add mv0 link v0 type macvtap mode bridge; may a ip link add vrf0 type vrf table 10; may a ip link set vrf0 up; may a ip link set d3 master vrf0; may a ip route show vrf vrf0; may a ip link add ms0 link v0 type macsec encrypt on; may a ip macsec add ms0 tx sa 0 pn 1 on key 01 01020304050607080910111213141516; may a ip link set ms0 up; may a ip macsec show
  may a ip link add ifb0 type ifb; may a ip link add nlm type nlmon; may a ip link set nlm up; may a ip link add vcan0 type vcan; may a ip link set vcan0 up; may a ip link add hsr0 type hsr slave1 d1 slave2 d2; may a ip link add bat0 type batadv; may a ip link set d1 master bat0; may a ip link add lowpan type lowpan; may a ip tuntap add dev tap0 mode tap; may a ip tuntap add dev tun0 mode tun; may a ip link set tap0 up; may a ip tuntap show
  may a ethtool v0; may a ethtool -k v0; may a ethtool -K v0 gro on tso off gso off; may a ethtool -S v0; may a ethtool -i v0; may a ethtool -c v0; may a ethtool -l v0; may a ethtool --show-channels v0; talk 192.0.2.2 tcp; may a ethtool -K v0 tso on gso on rx-udp-gro-forwarding on; may a ip link set v0 xdp off; may b ethtool -K v0 gro on; talk 192.0.2.2 tcp
  if modprobe -q mpls_router && modprobe -q mpls_iptunnel; then a sysctl -qw net.mpls.platform_labels=100 net.mpls.conf.v0.input=1; may a ip route add 10.31.0.0/24 encap mpls 50 via 192.0.2.2; may a ip -f mpls route add 60 via inet 192.0.2.2; may a ip -f mpls route show; may a ping -c 1 -W 1 10.31.0.1; fi
  unpair
}
traffic() {
  pair
  for q in "pfifo" "bfifo" "pfifo_fast" "prio" "sfq perturb 10" "fq" "fq_codel" "codel" "cake bandwidth 100mbit" "pie" "fq_pie" "red limit 400000 avpkt 1000 bandwidth 10mbit" "tbf rate 50mbit burst 32kb latency 50ms" "choke limit 1000 bandwidth 10mbit" "hhf" "drr" "qfq" "ets bands 3" "sfb" "netem delay 2ms" "skbprio" "plug" "multiq" "mqprio" "gred setup DPs 3 default 1" "htb default 1" "hfsc default 1" "etf clockid CLOCK_TAI" "cbs" "taprio"; do
    # shellcheck disable=SC2086
    may a tc qdisc add dev v0 root handle 1: $q && { may a ping -q -c 2 -i 0.2 -W 1 192.0.2.2; a tc -s qdisc show dev v0; may a tc qdisc change dev v0 root handle 1: $q; a tc qdisc del dev v0 root; }
  done
  a tc qdisc add dev v0 root handle 1: htb default 10; a tc class add dev v0 parent 1: classid 1:1 htb rate 100mbit; a tc class add dev v0 parent 1:1 classid 1:10 htb rate 50mbit ceil 100mbit; may a tc qdisc add dev v0 parent 1:10 handle 10: fq_codel; may a tc qdisc replace dev v0 parent 1:10 handle 11: sfq
  may a tc filter add dev v0 parent 1: protocol ip prio 1 u32 match ip dst 192.0.2.2/32 flowid 1:10; may a tc filter add dev v0 parent 1: protocol ip prio 2 flower dst_ip 192.0.2.2 ip_proto tcp dst_port 80 classid 1:10; may a tc filter add dev v0 parent 1: prio 3 basic match 'meta(mark eq 1)' classid 1:10; may a tc filter add dev v0 parent 1: protocol ip prio 4 flow hash keys src,dst divisor 16; may a tc filter add dev v0 parent 1: prio 5 handle 5 fw classid 1:10; may a tc filter add dev v0 parent 1: prio 6 matchall classid 1:10; may a tc filter add dev v0 parent 1: prio 7 route from 1 classid 1:10; may a tc filter add dev v0 parent 1: protocol ip prio 8 bpf bytecode '1,6 0 0 4294967295,' classid 1:10
  a ping -q -c 2 -i 0.2 192.0.2.2; a tc -s filter show dev v0; a tc -s class show dev v0; may a tc filter del dev v0 prio 1; a tc qdisc del dev v0 root
  may a tc qdisc add dev v0 clsact; for action in "drop" "ok" "mirred egress redirect dev lo" "vlan push id 5" "pedit ex munge ip ttl set 10 pipe csum ip" "police rate 1mbit burst 10k" "skbedit mark 5" "tunnel_key set src_ip 1.1.1.1 dst_ip 1.1.1.2 id 5" "nat egress 192.0.2.1/32 192.0.2.9" "bpf bytecode 1,6\ 0\ 0\ 4294967295," "sample rate 1 group 5" "connmark" "ct" "gate clockid CLOCK_TAI" "mpls push label 5" "simple sdata x"; do
    # shellcheck disable=SC2086
    may a tc filter add dev v0 egress protocol ip flower ip_proto icmp action $action && { may a ping -c 1 -W 1 192.0.2.2; a tc -s filter show dev v0 egress; a tc filter del dev v0 egress; }
  done
  may a tc qdisc add dev v0 ingress; may b tc qdisc add dev v0 clsact; may b tc filter add dev v0 ingress protocol all flower indev v0 ip_proto icmp action pass; may a ping -c 1 -W 1 192.0.2.2; may a tc chain add dev v0 egress chain 5; may a tc chain show dev v0 egress; may a tc actions add action gact drop index 7; may a tc actions ls action gact
  unpair
}
sockets() {
  stress 6 "$work" sock sockabuse sockdiag sockfd sockmany sockpair udp udp-flood rawsock rawudp rawpkt netlink-proc netlink-task icmp-flood epoll dccp sctp tun veth netdev ping-sock vm-splice zero msg af-alg
  need dropwatch
  may timeout 5 sh -c 'printf "set alertmode packet\nstart\n" | (cat; sleep 3; printf "stop\nexit\n") | dropwatch -l kas'
  may timeout 4 sh -c '(echo start; sleep 2; echo stop; echo exit) | dropwatch -l kas'
}
wireless() {
  need iw; modprobe -q mac80211_hwsim radios=2 || { echo "no module mac80211_hwsim"; exit 77; }
  sleep 1; set -- $(ls /sys/class/net | grep -E '^wl' || true); [ $# -ge 2 ] || { echo "no radios"; exit 77; }
  for d; do ip link set "$d" down; iw dev "$d" set type ibss; ip link set "$d" up; iw dev "$d" ibss join kmend 2412; done; sleep 2; iw dev "$1" station dump; iw dev "$1" scan >/dev/null || true; iw list >/dev/null; iw reg get
  for d; do iw dev "$d" ibss leave; ip link set "$d" down; may iw dev "$d" set type mesh; ip link set "$d" up; may iw dev "$d" mesh join kmend; done; sleep 2; may iw dev "$1" mpath dump; for d; do ip link set "$d" down; may iw dev "$d" set type monitor; may ip link set "$d" up; done
  rmmod mac80211_hwsim
}
protocols() { for m in tipc rds sctp dccp_ipv4 can_raw can_bcm can_isotp vsock_loopback vmw_vsock_vmci_transport x25 ax25 netrom rose atm llc2 phonet ieee802154_socket caif_socket smc qrtr rxrpc appletalk mptcp_diag l2tp_ip nfc bluetooth kcm af_key; do may modprobe -q $m; done; stress 3 "$work" sock sockfd sctp dccp; if command -v tipc >/dev/null; then may tipc bearer enable media eth device lo; may tipc node list; may tipc link list; may tipc nametable show; may tipc bearer disable media eth device lo; fi; may ss --tipc; may ss --vsock; may ss --sctp -a; may ss --mptcp -a; }

for part; do try "$part" 200 "$part"; done
