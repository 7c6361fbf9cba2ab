# Packet filters. Arguments: the parts.
. "${0%/*}/lib.sh"

enter() { (set -e; enter_up) || exit 1; }
enter_up() { ip netns add kmend-f; ip netns add kmend-g; ip -n kmend-f link set lo up; ip -n kmend-f link add v0 type veth peer name v0 netns kmend-g; ip -n kmend-f addr add 192.0.2.1/24 dev v0; ip -n kmend-g addr add 192.0.2.2/24 dev v0; ip -n kmend-f addr add 2001:db8::1/64 dev v0 nodad; ip -n kmend-g addr add 2001:db8::2/64 dev v0 nodad; ip -n kmend-f link set v0 up; ip -n kmend-g link set v0 up; }
leave() { ip netns del kmend-f; ip netns del kmend-g; }
f() { ip netns exec kmend-f "$@"; }
poke() { may f ping -q -c 2 -i 0.2 -W 1 127.0.0.1; may f ping -q -c 2 -i 0.2 -W 1 192.0.2.2; may f ping -q -c 2 -i 0.2 -W 1 2001:db8::2; may f timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.2/80'; }
old() { # iptables or ip6tables
  need $1; enter; to=192.0.2.2; [ $1 = ip6tables-legacy ] && to=2001:db8::2
  for table in filter mangle raw security nat; do f $1 -t $table -L -n -v; chain=OUTPUT; f $1 -t $table -A $chain -d $to -m comment --comment kmend -j ACCEPT; f $1 -t $table -N kmend; f $1 -t $table -A kmend -j RETURN; f $1 -t $table -I $chain -j kmend; poke; f $1 -t $table -Z; f $1 -t $table -S; f $1-save -t $table >saved; f $1-restore <saved; poke; f $1-restore -n -c <saved; f $1 -t $table -F; f $1 -t $table -X; done
  while read -r rule; do [ -n "$rule" ] || continue; may f $1 -A OUTPUT $rule && { may f ping -q -c 1 -W 1 $to; f $1 -L OUTPUT -n -v; f $1 -D OUTPUT $rule; }; done <<END
-p icmp -j ACCEPT
-p tcp --dport 80 --tcp-flags SYN SYN -j REJECT --reject-with tcp-reset
-m state --state NEW -j ACCEPT
-m conntrack --ctstate ESTABLISHED,NEW -j ACCEPT
-m limit --limit 5/s -j LOG
-m hashlimit --hashlimit-above 10/s --hashlimit-name kx -j ACCEPT
-m recent --set --name kx -j ACCEPT
-m mark --mark 1 -j DROP
-m multiport -p tcp --dports 80,443 -j ACCEPT
-m owner --uid-owner 0 -j ACCEPT
-m string --string kmend --algo kmp -j ACCEPT
-m string --string kmend --algo bm -j ACCEPT
-m u32 --u32 0>>22&0x3C@0>>24=8 -j ACCEPT
-m length --length 50:200 -j ACCEPT
-m ttl --ttl-gt 5 -j ACCEPT
-m statistic --mode random --probability 0.5 -j ACCEPT
-m addrtype --dst-type LOCAL -j ACCEPT
-m quota --quota 100000 -j ACCEPT
-m time --timestart 00:00 --timestop 23:59 -j ACCEPT
-m connlimit --connlimit-above 5 -j ACCEPT
-m connbytes --connbytes 1: --connbytes-dir both --connbytes-mode packets -j ACCEPT
-m iprange --dst-range 192.0.2.1-192.0.2.9 -j ACCEPT
-m frag --fraglast -j ACCEPT
-m hbh --hbh-len 8 -j ACCEPT
-m dst --dst-len 8 -j ACCEPT
-m rt --rt-type 0 -j ACCEPT
-m ah --ahspi 1 -j ACCEPT
-m ipv6header --header hop --soft -j ACCEPT
-m cgroup --cgroup 1 -j ACCEPT
-j NFLOG
-j TRACE
-j CHECKSUM --checksum-fill
-j IDLETIMER --timeout 5 --label kx
END
  may f $1 -A INPUT -m eui64 -j ACCEPT; may f $1 -A INPUT -m rpfilter -j ACCEPT; poke
  may f $1 -t mangle -A OUTPUT -j MARK --set-mark 3; may f $1 -t mangle -A OUTPUT -j TOS --set-tos 4; may f $1 -t mangle -A OUTPUT -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu; may f $1 -t mangle -A OUTPUT -j DSCP --set-dscp 5; may f $1 -t mangle -A OUTPUT -j CONNMARK --save-mark; may f $1 -t mangle -A POSTROUTING -j TTL --ttl-set 20; may f $1 -t mangle -A POSTROUTING -j HL --hl-set 20; may f $1 -t raw -A PREROUTING -j CT --notrack; may f $1 -t raw -A OUTPUT -j CT --helper ftp; may f $1 -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 80; may f $1 -t nat -A POSTROUTING -j MASQUERADE; may f $1 -t nat -A OUTPUT -p udp --dport 5 -j DNAT --to-destination $to; poke; leave
  enter; may f $1 -t nat -L; may f $1 -t raw -L; may f $1 -t security -L; may f $1 -t mangle -L; leave
}
arp() { need arptables-legacy; enter; a=arptables-legacy; f $a -L -n -v; f $a -A OUTPUT -d 192.0.2.2 -j ACCEPT; f $a -A INPUT --opcode 2 -j ACCEPT; may f $a -A OUTPUT -d 192.0.2.3 -j mangle --mangle-ip-s 192.0.2.9; may f $a -A OUTPUT -d 192.0.2.2 -j mangle --mangle-mac-s 02:00:00:00:00:09; f $a -N kx; f ip neigh flush all; poke; may f ping -c 1 -W 1 192.0.2.3; may f arptables-legacy-save; f $a -S || true; f $a -Z; f $a -F; f $a -X; leave; }
bridge() { need ebtables-legacy; ip netns add kmend-f; f ip link add br0 type bridge; f ip link add v1 type veth peer name v2; f ip link set v1 master br0 up; f ip link set v2 up; f ip link set br0 up; for tbl in filter nat broute; do may f ebtables-legacy -t $tbl -L; done; may f ebtables-legacy -A FORWARD -p IPv4 --ip-proto tcp -j DROP; may f ebtables-legacy -A INPUT -p ARP -j mark --mark-set 1; may f ping -c 1 -W 1 -I v2 192.0.2.5; may modprobe -q br_netfilter; ip netns del kmend-f; }
nft() {
  command -v nft >/dev/null || { echo "no nft"; exit 77; }; enter; n() { f /usr/sbin/nft "$@"; }
  for fam in ip ip6 inet arp bridge netdev; do n add table $fam kx; done
  n add chain inet kx out '{ type filter hook output priority 0; policy accept; }'; n add chain inet kx in '{ type filter hook input priority 0; }'; n add chain inet kx pre '{ type filter hook prerouting priority -150; }'; n add chain inet kx hop; n add chain ip kx nat '{ type nat hook postrouting priority 100; }'; n add chain ip6 kx nat '{ type nat hook postrouting priority 100; }'; n add chain inet kx rerouted '{ type route hook output priority 0; }'; may n add chain netdev kx ing '{ type filter hook ingress device v0 priority 0; }'
  n add set inet kx s '{ type ipv4_addr; flags timeout, dynamic; timeout 10s; }'; n add set inet kx iv '{ type ipv4_addr; flags interval; auto-merge; }'; n add element inet kx iv '{ 10.0.0.0/8, 192.0.2.0/24 }'; n add map inet kx m '{ type inet_service : verdict; }'; n add element inet kx m '{ 80 : accept, 81 : jump hop }'; n add set inet kx c '{ type ipv4_addr . inet_service; flags interval; }'; n add element inet kx c '{ 192.0.2.0/24 . 80-90 }'; n add counter inet kx cnt; n add quota inet kx q '{ over 10 mbytes; }'; may n add limit inet kx l '{ rate 10/second; }'; may n add ct helper inet kx h '{ type "ftp" protocol tcp; }'; may n add ct timeout inet kx to '{ protocol tcp; policy = { established: 100 }; }'; may n add flowtable inet kx ft '{ hook ingress priority 0; devices = { v0 }; }'; may n add secmark inet kx sm '{ "system_u:object_r:x_t:s0"; }'; may n add synproxy inet kx sp '{ mss 1460; wscale 7; }'
  while read -r rule; do [ -n "$rule" ] || continue; may n add rule inet kx $rule; done <<'END'
out ip daddr 192.0.2.2 counter accept
pre fib saddr . iif oif missing counter
pre fib saddr . iif oif exists counter
pre fib daddr type local counter
pre fib daddr . iif type { local, broadcast } counter
pre fib saddr . mark oifname "v0" counter
in fib saddr oif v0 counter
in fib daddr . iif oif lo counter
out meta l4proto icmp limit rate 5/second counter
out meta mark set 5 counter
out ct state new,established counter
out ct mark set meta mark
out ip saddr @iv counter
out add @s { ip daddr limit rate 10/second }
out tcp dport vmap @m
out ip daddr . tcp dport @c counter
out log prefix "kx"
out tcp dport 82 reject with tcp reset
out udp dport 83 reject
out tcp flags syn tcp option maxseg size set 1200
out numgen inc mod 2 0 counter
out jhash ip saddr mod 4 seed 0xdeadbeef counter
out socket transparent 1 counter
in socket cgroupv2 level 1 "system.slice" counter
out rt ip nexthop 192.0.2.2 counter
out exthdr hbh exists counter
out ip6 nexthdr ipv6-icmp counter
out meta skuid 0 counter
out meta length > 100 counter
out meta time < "2040-01-01 00:00:00" counter
out ip option rr exists counter
out @nh,0,8 0x45 counter
out @th,16,16 set 80
out counter name "cnt"
out quota name "q"
out dup to 192.0.2.9 device "v0"
in meta l4proto tcp tproxy ip to 127.0.0.1:80
out ct count over 100 counter
out ct zone 1 counter
pre notrack
pre ip6 hoplimit 64 counter
pre queue flags bypass to 5
out osf name "Linux" counter
out ipsec out ip saddr 192.0.2.1 counter
out limit name "l" counter
out flow add @ft
END
  may n add rule ip kx nat masquerade; may n add rule ip6 kx nat snat to 2001:db8::1; may n add rule ip kx nat ip daddr 192.0.2.7 snat to 192.0.2.1-192.0.2.4 random,persistent; may n add rule netdev kx ing fib daddr type local counter; may n add rule netdev kx ing counter; may n add rule netdev kx ing fwd to v0; poke; n -a list ruleset; n -j list ruleset >saved || true; n reset counters; n monitor >/dev/null & m=$!; sleep 0.3; kill $m; n list ruleset >rules; n flush ruleset; may n -f rules; poke; for s in s iv c; do n flush set inet kx $s || true; done; n delete chain inet kx hop || true; n flush ruleset
  if command -v conntrack >/dev/null; then may f conntrack -L; may f conntrack -S; may f conntrack -F; may f conntrack -I -p udp -s 1.1.1.1 -d 2.2.2.2 --sport 5 --dport 6 -t 60; may f conntrack -D -s 1.1.1.1; may f conntrack -L expect; fi
  if command -v ipset >/dev/null; then for type in hash:ip hash:net hash:ip,port hash:net,iface bitmap:port hash:mac list:set hash:net,net bitmap:ip; do o=; [ $type = bitmap:port ] && o="range 1-100"; [ $type = bitmap:ip ] && o="range 10.0.0.0/24"; may f ipset create kx $type $o || continue; case $type in hash:ip) e=1.2.3.4 ;; hash:net) e=10.0.0.0/8 ;; hash:ip,port) e=1.2.3.4,80 ;; hash:net,iface) e=10.0.0.0/8,v0 ;; bitmap:port) e=50 ;; hash:mac) e=02:00:00:00:00:01 ;; hash:net,net) e=10.0.0.0/8,11.0.0.0/8 ;; bitmap:ip) e=10.0.0.5 ;; *) e= ;; esac; [ -n "$e" ] && may f ipset add kx $e && may f ipset test kx $e; f ipset list kx; f ipset save kx; f ipset destroy kx; done; fi
  for h in h323 sip ftp irc tftp pptp amanda snmp_basic; do may modprobe -q nf_nat_$h; may modprobe -q nf_conntrack_${h%_basic}; done
  leave
}
iptables4() { old iptables-legacy; }
iptables6() { old ip6tables-legacy; }

for part; do try "$part" 200 "$part"; done
