# Block devices and what lies on them: queues, device mapper, md. Arguments: the parts.
. "${0%/*}/lib.sh"

loops() { for i in 1 2 3 4; do truncate -s 40M disk$i; eval "l$i=$(losetup -f --show disk$i)" || exit 1; done; }
unloops() { losetup -d "$l1" "$l2" "$l3" "$l4"; rm -f disk?; }
work() { dd if=/dev/urandom of="$1" bs=64k count=100 oflag=direct; dd if="$1" of=/dev/null bs=64k count=100 iflag=direct; may blkdiscard -o 0 -l 1M "$1"; may blkdiscard -z -o 1M -l 1M "$1"; }
queues() {
  modprobe -q null_blk nr_devices=0 || { echo "no module null_blk"; exit 77; }
  for mode in 0 2; do rmmod null_blk; modprobe null_blk queue_mode=$mode nr_devices=1 irqmode=1 completion_nsec=1000 gb=1 memory_backed=0 submit_queues=2 || continue
  for s in none mq-deadline bfq kyber; do may sh -c "modprobe -q $s; modprobe -q $s-iosched; echo $s >/sys/block/nullb0/queue/scheduler"; may timeout 60 fio --name=q --filename=/dev/nullb0 --rw=randrw --bs=4k --size=8m --direct=1 --ioengine=io_uring --iodepth=8 --numjobs=2 --runtime=2 --time_based; done
  find /sys/block/nullb0/ /sys/kernel/debug/block/nullb0 -type f -exec cat {} + >/dev/null 2>&1 || true
  for pair in "nr_requests 32" "nomerges 2" "rq_affinity 2" "read_ahead_kb 64" "iostats 0" "iostats 1" "wbt_lat_usec 2000" "write_cache write"; do set -- $pair; may sh -c "echo '$2 $3' >/sys/block/nullb0/queue/$1"; done; done
  rmmod null_blk
  modprobe null_blk nr_devices=0; c=/sys/kernel/config/nullb/kmend; mkdir $c && { echo 1 >$c/memory_backed; echo 64 >$c/size; echo 2 >$c/submit_queues; echo 1 >$c/power; for n in 1 2; do echo $n >$c/submit_queues; done; dd if=/dev/zero of=/dev/nullb0 bs=64k count=10; echo 0 >$c/power; rmdir $c; }; rmmod null_blk
}
groups() {
  loops; g=/sys/fs/cgroup/kmend; mkdir -p $g; echo "+io +memory" >/sys/fs/cgroup/cgroup.subtree_control; number=$(cat /sys/block/"${l1#/dev/}"/dev)
  for line in "io.max $number rbps=20000000 wbps=20000000 riops=2000" "io.weight default 50" "io.bfq.weight 50" "io.latency $number target=10000" "memory.high 30M"; do set -- $line; file=$1; shift; may sh -c "echo '$*' >$g/$file"; done
  for line in "io.cost.qos $number enable=1" "io.cost.model $number ctrl=user model=linear rbps=100000000 rseqiops=10000 rrandiops=10000 wbps=100000000 wseqiops=10000 wrandiops=10000"; do set -- $line; file=$1; shift; may sh -c "echo '$*' >/sys/fs/cgroup/$file"; done
  sh -c "echo \$\$ >$g/cgroup.procs; dd if=/dev/zero of=$l1 bs=64k count=100 oflag=direct; dd if=$l1 of=/dev/null bs=64k count=100 iflag=direct; dd if=/dev/zero of=$l1 bs=64k count=100; sync"
  cat $g/io.stat $g/io.max $g/io.pressure; mkdir $g/inner; rmdir $g/inner; retry rmdir $g; may sh -c "echo '$number enable=0' >/sys/fs/cgroup/io.cost.qos"
  unloops
}
mapper() {
  need dmsetup; module dm_mod; loops
  while read -r name table; do
    [ -n "$name" ] || continue; may modprobe -q dm-${name%-*}
    table=$(echo "$table" | sed "s#L1#$l1#g; s#L2#$l2#g; s#L3#$l3#g; s#L4#$l4#g")
    may dd if=/dev/zero of="$l2" bs=64k count=16 2>/dev/null
    if dmsetup create "kmend-$name" --table "$table"; then may work "/dev/mapper/kmend-$name"; may dmsetup status; may dmsetup table; may dmsetup message "kmend-$name" 0 help; may dmsetup suspend "kmend-$name"; may dmsetup resume "kmend-$name"; retry dmsetup remove "kmend-$name"; fi
  done <<END
linear 0 40000 linear L1 0
striped 0 40000 striped 2 128 L1 0 L2 0
zero 0 40000 zero
error 0 40000 error
delay 0 40000 delay L1 0 1
flakey 0 40000 flakey L1 0 10 0
mirror 0 40000 mirror core 2 1024 nosync 2 L1 0 L2 0
log-writes 0 40000 log-writes L1 L2
dust 0 40000 dust L1 0 512
crypt 0 40000 crypt aes-xts-plain64 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef 0 L1 0
crypt-cbc 0 40000 crypt aes-cbc-essiv:sha256 0123456789abcdef0123456789abcdef 0 L1 0 1 allow_discards
integrity 0 30000 integrity L1 0 32 J 1 internal_hash:crc32c
writecache 0 40000 writecache s L1 L2 4096 0
cache 0 40000 cache L2 L3 L1 128 1 writeback default 0
era 0 40000 era L2 L1 1024
clone 0 40000 clone L2 L1 L3 8
raid-1 0 40000 raid raid1 3 0 region_size 1024 2 - L1 - L2
raid-5 0 40000 raid raid5_la 1 128 3 - L1 - L2 - L3
switch 0 40000 switch 2 128 0 L1 0 L2 0
unstripe 0 40000 unstriped 2 128 0 L1 0
ebs 0 40000 ebs L1 0 1
multipath 0 40000 multipath 0 0 1 1 round-robin 0 1 1 L1 1
END
  may dmsetup create origin --table "0 40000 snapshot-origin $l1"; may dmsetup create snap --table "0 40000 snapshot $l1 $l2 P 16"; may dd if=/dev/urandom of=/dev/mapper/origin bs=64k count=20 oflag=direct; may dd if=/dev/mapper/snap of=/dev/null bs=64k count=50; may dmsetup status snap; may retry dmsetup remove snap; may retry dmsetup remove origin
  modprobe -q dm-thin-pool; dd if=/dev/zero of="$l2" bs=64k count=16; if dmsetup create pool --table "0 40000 thin-pool $l2 $l1 128 100"; then dmsetup message pool 0 "create_thin 0"; dmsetup create thin --table "0 60000 thin /dev/mapper/pool 0"; work /dev/mapper/thin; dmsetup suspend thin; dmsetup message pool 0 "create_snap 1 0"; dmsetup resume thin; dmsetup create thin2 --table "0 60000 thin /dev/mapper/pool 1"; work /dev/mapper/thin2; dmsetup status; retry dmsetup remove thin2; retry dmsetup remove thin; dmsetup message pool 0 "delete 1"; retry dmsetup remove pool; fi
  if command -v veritysetup >/dev/null; then veritysetup format "$l1" "$l2" >v; hash=$(sed -n 's/^Root hash:\s*//p' v); veritysetup open "$l1" kmend-v "$l2" "$hash" && { dd if=/dev/mapper/kmend-v of=/dev/null bs=64k; veritysetup close kmend-v; }; fi
  if command -v cryptsetup >/dev/null; then echo secret | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$l1" - && echo secret | cryptsetup open "$l1" kmend-l - && { work /dev/mapper/kmend-l; cryptsetup close kmend-l; }; fi
  unloops
}
md() {
  need mdadm; loops
  for level in 0 1 4 5 6 10 linear; do
    modprobe -q raid$level || modprobe -q raid456 || true
    for l in "$l1" "$l2" "$l3" "$l4"; do may mdadm --zero-superblock "$l"; done
    may mdadm --create /dev/md77 --run --assume-clean --metadata=1.2 --level=$level --raid-devices=4 "$l1" "$l2" "$l3" "$l4" || continue
    work /dev/md77
    case $level in [14]|5|6|10) may mdadm /dev/md77 --fail "$l2"; work /dev/md77; may mdadm /dev/md77 --remove "$l2"; may mdadm --zero-superblock "$l2"; may mdadm /dev/md77 --add "$l2"; sleep 2; may sh -c "echo check >/sys/block/md77/md/sync_action"; may mdadm --grow /dev/md77 --bitmap=internal; may mdadm --grow /dev/md77 --bitmap=none; ;; esac
    cat /proc/mdstat; find /sys/block/md77/md -type f -exec cat {} + >/dev/null 2>&1 || true; mdadm --detail /dev/md77; retry mdadm --stop /dev/md77
  done
  unloops
}
swap() { truncate -s 64M s; dd if=/dev/zero of=s bs=1M count=64; l=$(losetup -f --show s); mkswap "$l"; swapon -d "$l"; stress 3 "$work" swap vm-rw; may swapoff "$l"; losetup -d "$l"; if modprobe -q zram num_devices=1; then may sh -c 'echo lz4 >/sys/block/zram0/comp_algorithm'; echo 64M >/sys/block/zram0/disksize; mkswap /dev/zram0; swapon /dev/zram0; swapoff /dev/zram0; echo 1 >/sys/block/zram0/reset; rmmod zram; fi; }
nbd() { module nbd; ls /dev/nbd0; cat /sys/block/nbd0/size; }

for part; do try "$part" 240 "$part"; done
