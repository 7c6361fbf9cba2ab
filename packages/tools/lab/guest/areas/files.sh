# File systems, each in an image of its own: make, mount, work, unmount, check. Arguments: their names.
. "${0%/*}/lib.sh"
strict=1

# What every writable file system is put through.
use() { # FOLDER
  for i in 1 2 3 4 5 6 7 8; do mkdir -p "$1/d$i/e" && echo "$i" >"$1/d$i/file"; done
  i=0; while [ $i -lt 120 ]; do echo $i >"$1/d1/long-name-for-the-directory-$i"; i=$((i + 1)); done
  dd if=/dev/urandom of="$1/big" bs=64k count=60 conv=fsync
  dd if=/dev/zero of="$1/big" bs=4k seek=100 count=30 conv=notrunc,fsync
  may dd if="$1/big" of=/dev/null bs=64k iflag=direct
  may dd if=/dev/zero of="$1/direct" bs=64k count=8 oflag=direct
  cp "$1/big" "$1/copy" && cmp "$1/big" "$1/copy"
  truncate -s 1M "$1/copy"; truncate -s 3M "$1/copy"; truncate -s 100 "$1/copy"
  may fallocate -l 2M "$1/space"
  may fallocate -p -o 64k -l 128k "$1/big"
  may fallocate -z -o 256k -l 64k "$1/big"
  may fallocate -c -o 0 -l 64k "$1/big"
  may cp --reflink=always "$1/big" "$1/reflink"
  may filefrag -v "$1/big"
  mv "$1/d2" "$1/moved" && mv "$1/moved/file" "$1/d3/other"
  may ln "$1/big" "$1/hard"; may ln -s big "$1/soft"; may cat "$1/soft"
  may ln -s "$(printf '%0200d' 0)" "$1/long-soft"; may readlink "$1/long-soft"
  may chmod 640 "$1/big"; may chown nobody "$1/d3"; may chattr +A "$1/d4/file"
  for space in user trusted security; do
    may setfattr -n $space.kmend -v value "$1/big"; may getfattr -m - -d "$1/big"
    may setfattr -n $space.long -v "$(printf '%02000d' 7)" "$1/d3"
    may setfattr -x $space.kmend "$1/big"; may getfattr -m - -d "$1/d3"
  done
  may setfacl -m u:nobody:r "$1/big"; may getfacl "$1/big"; may setfacl -d -m g::rx "$1/d4"
  may mkfifo "$1/pipe"; may mknod "$1/node" c 1 3
  find "$1" -xdev -ls >/dev/null
  stat -f "$1"
  # Where it is used several times, stress-ng has its turn the first time alone.
  [ -n "${used:-}" ] || stress 3 "$1" dentry dir dirdeep xattr fallocate hdd mmap fiemap chmod rename symlink link copy-file punch seek utime flock lease locka dnotify inotify fanotify sync-file iomix getdent open readahead sendfile io-uring aio
  used=1
  rm -rf "$1/d1" "$1/space" "$1/copy"
  sync -f "$1"
  may fstrim "$1"
}

image() { rm -f image; truncate -s "$1" image; loop=$(losetup -f --show image); }
free() { retry umount "$work/mnt" && retry losetup -d "$loop"; rm -f image; }

# A file system that is made in a file: TYPE SIZE OPTIONS MKFS...
made() {
  type=$1 size=$2 options=$3
  shift 3
  need "$1"; module "$type"
  mkdir -p mnt; image "$size"
  "$@" "$loop"
  mount -t "$type" -o "$options" "$loop" mnt
  use mnt
  if command -v "own_$type" >/dev/null; then "own_$type" mnt; fi
  umount mnt
  # Again, with what was written to be read from the disk.
  mount -t "$type" -o "$options" "$loop" mnt
  find mnt -type f -print0 | xargs -0 cat | wc -c
  may mount -o remount,ro mnt
  may mount -o remount,rw mnt
  # nilfs2 does not always come back from being read-only.
  may rm -rf mnt/*
  umount mnt
  if command -v "check_$type" >/dev/null; then "check_$type" "$loop"; fi
  losetup -d "$loop"
  rm -f image
}

own_ext4() {
  may resize2fs "$loop" 150M
  may chattr +j "$1/big"; may chattr -e "$1/big"; may chattr +i "$1/soft"
  i=0; while [ $i -lt 40 ]; do setfattr -n user.a$i -v "$(printf '%0900d' $i)" "$1/big" || break; i=$((i + 1)); done
  may setfattr -n trusted.inode -v "$(printf '%05000d' 7)" "$1/big"; may setfattr -x trusted.inode "$1/big"
  may e4defrag "$1"; may e2freefrag "$loop"
  may quotaon -v "$1"; may setquota -u nobody 1000 2000 0 0 "$1"; may repquota "$1"; may quotaoff "$1"
  may fsfreeze -f "$1"; may fsfreeze -u "$1"
}
check_ext4() { fsck.ext4 -fn "$1"; }
check_ext2() { fsck.ext2 -fn "$1"; }
check_xfs() { xfs_repair -n "$1"; }
own_xfs() {
  may xfs_growfs "$1"; may xfs_fsr "$1/big"; may xfs_bmap -vp "$1/big"; may xfs_spaceman -c 'freesp' "$1"; may xfs_scrub -n "$1"
  may xfs_quota -x -c 'limit bsoft=1m bhard=2m nobody' "$1"; may xfs_quota -x -c report "$1"; may xfs_io -c 'fsmap' "$1"
  may xfs_io -c 'reflink big' "$1/clone"; may xfs_io -c 'dedupe big 0 0 4096' "$1/clone"
}
own_btrfs() {
  btrfs subvolume create "$1/sub"; cp "$1/big" "$1/sub/big"
  btrfs subvolume snapshot -r "$1/sub" "$1/snap"; may btrfs subvolume snapshot "$1/sub" "$1/writable"
  btrfs send "$1/snap" >stream; mkdir -p "$1/in"; btrfs receive -f stream "$1/in"; rm stream
  btrfs filesystem defragment -r -czstd "$1/sub"; btrfs filesystem df "$1"; btrfs filesystem usage "$1"; btrfs filesystem du "$1"
  btrfs quota enable "$1"; may btrfs qgroup show "$1"; may btrfs qgroup limit 50M "$1/sub"; may btrfs quota rescan -w "$1"
  btrfs scrub start -B "$1"; may btrfs balance start -dusage=50 -musage=50 "$1"; may btrfs filesystem resize 250M "$1"
  may btrfs inspect-internal logical-resolve 13631488 "$1"; may btrfs inspect-internal inode-resolve 257 "$1"; may btrfs inspect-internal dump-super "$loop"
  may btrfs filesystem label "$1" kmend; may btrfs property set "$1/big" compression zlib; may btrfs device stats "$1"; may btrfs subvolume list "$1"
  may btrfs subvolume set-default "$1/sub"; may btrfs subvolume set-default 5 "$1"; may btrfs subvolume get-default "$1"
  may btrfs filesystem mkswapfile "$1/swap" -s 8M; may swapon "$1/swap"; may swapoff "$1/swap"
  may btrfs quota disable "$1"; btrfs subvolume delete "$1/in/snap" "$1/snap"; may btrfs subvolume sync "$1"
  truncate -s 400M second; other=$(losetup -f --show second); may btrfs device add -f "$other" "$1"; may btrfs device remove "$other" "$1"; losetup -d "$other"; rm second
  for f in /sys/fs/btrfs/*/* /sys/fs/btrfs/*/*/* /sys/fs/btrfs/*/allocation/*/*; do [ -f "$f" ] && cat "$f" >/dev/null 2>&1; done || true
  for f in /sys/fs/btrfs/*/commit_stats /sys/fs/btrfs/*/bg_reclaim_threshold /sys/fs/btrfs/*/allocation/data/bg_reclaim_threshold; do [ -w "$f" ] && echo 75 >"$f"; done || true
}
check_btrfs() { btrfs check "$1"; }
own_f2fs() {
  mkdir -p "$1/c"; may chattr +c "$1/c"; for i in 1 2 3; do may sh -c "yes compressible | head -c 800000 >'$1/c/$i'"; done; sync -f "$1"
  echo 3 >/proc/sys/vm/drop_caches; cat "$1"/c/* >/dev/null; may dd if=/dev/zero of="$1/c/1" bs=4k seek=3 count=5 conv=notrunc,fsync; may truncate -s 300000 "$1/c/2"
  may f2fs_io gc 1 "$1/big"; may f2fs_io defrag_file 0 1000000 "$1/big"; may f2fs_io pinfile set "$1/direct"; may f2fs_io getflags "$1/c/1"; may f2fs_io release_cblocks "$1/c/3"; may f2fs_io reserve_cblocks "$1/c/3"
  may f2fs_io decompress "$1/c/1"; may f2fs_io compress "$1/c/1"; may f2fs_io write 1 0 10 zero atomic_commit "$1/atomic"; may f2fs_io shutdown 4 "$1"
  echo tiny >"$1/inline"; cat "$1/inline"; may dd if=/dev/zero of="$1/inline" bs=1k count=8 conv=notrunc; sync -f "$1"
  for f in /sys/fs/f2fs/*/* /sys/fs/f2fs/features/* /proc/fs/f2fs/*/*; do [ -f "$f" ] && cat "$f" >/dev/null 2>&1; done || true
  for f in /sys/fs/f2fs/loop*/gc_urgent /sys/fs/f2fs/loop*/cp_interval /sys/fs/f2fs/loop*/reclaim_segments; do [ -w "$f" ] && cat "$f" | tr -dc 0-9 >v && cat v >"$f"; done || true
}
check_f2fs() { fsck.f2fs "$1"; }
check_vfat() { fsck.vfat -n "$1"; }
check_exfat() { fsck.exfat -n "$1"; }
own_nilfs2() { may mkcp "$loop"; may lscp "$loop"; may lssu "$loop"; may chcp ss "$loop" 1; may nilfs-resize -y "$loop" 130M; may nilfs-clean -p 0 "$loop"; sleep 1; may dumpseg "$loop" 0; may rmcp "$loop" 1; }
own_gfs2() { may gfs2_grow "$1"; may tunegfs2 -l "$loop"; may gfs2_edit -p sb "$loop"; for f in /sys/fs/gfs2/*/* /sys/kernel/debug/gfs2/*/*; do [ -f "$f" ] && cat "$f" >/dev/null 2>&1; done || true; }
check_gfs2() { fsck.gfs2 -n "$1"; }
own_ocfs2() { may setquota -u nobody 1000 2000 0 0 "$1"; may tunefs.ocfs2 -S "$loop" 200M; may o2info --fs-features "$1"; may o2info --freeinode "$1"; may o2info --freefrag 16 "$1"; may o2info --space-usage "$1/big"; may o2info --filestat "$1/big"; }
check_ocfs2() { fsck.ocfs2 -fn "$1"; }
check_jfs() { fsck.jfs -n "$1"; }

# A file system that is filled when it is made, and then only read.
packed() { # TYPE MAKE...
  type=$1
  shift
  need "$1"; modprobe -q "fs-$type" || modprobe -q "$type" || { echo "no module $type"; exit 77; }
  mkdir -p src mnt; cp -r /etc/systemd src/a; cp /bin/bash src/b; ln -sf b src/link; mkdir -p src/deep/er/and/deeper; echo x >src/deep/er/and/deeper/f
  i=0; while [ $i -lt 300 ]; do echo $i >"src/a/a-file-with-a-long-name-$i"; i=$((i + 1)); done
  setfattr -n user.kmend -v value src/b
  "$@"
  mount -t "$type" -o loop,ro packed mnt
  find mnt -ls >/dev/null; cmp src/b mnt/b; may cat mnt/link; cat mnt/a/* >/dev/null 2>&1 || true; may getfattr -d mnt/b
  echo 3 >/proc/sys/vm/drop_caches; stress 2 /tmp vm-rw; cmp src/b mnt/b
  if command -v exportfs >/dev/null; then may exported mnt; fi
  retry umount mnt
  rm -rf src packed
}
# Reached by file handles, as an NFS server does it.
exported() { stress 1 "$1" handle; }

overlay() {
  module overlay
  mkdir -p mnt lower upper workdir; echo lower >lower/file; mkdir lower/dir; echo x >lower/dir/y; ln -s file lower/link
  for options in "index=on,metacopy=on,redirect_dir=on" "index=off,redirect_dir=off"; do
    rm -rf upper workdir; mkdir upper workdir
    mount -t overlay -o "lowerdir=lower,upperdir=upper,workdir=workdir,$options" overlay mnt
    echo more >>mnt/file; mv mnt/dir mnt/renamed || true; rm -f mnt/link; chmod 600 mnt/file; mkdir -p mnt/dir; use mnt
    umount mnt
  done
}

fuse() {
  need ntfs-3g mkntfs
  module fuse
  mkdir -p mnt; image 60M; mkntfs -Q -F "$loop"
  ntfs-3g "$loop" mnt; use mnt
  for c in /sys/fs/fuse/connections/*; do cat "$c/waiting" "$c/max_background"; echo 20 >"$c/max_background"; echo 10 >"$c/congestion_threshold"; done
  umount mnt; ntfs-3g "$loop" mnt; ls -lR mnt >/dev/null
  for c in /sys/fs/fuse/connections/*; do echo 1 >"$c/abort"; done; sleep 0.3; may ls mnt
  free
}

# File systems that nothing here makes: what reads their first block, and finds none. Without ufs, which says WARNING of
# a missing option.
foreign() {
  mkdir -p mnt; image 8M
  for type in adfs affs befs bfs cramfs efs freevxfs hfs hfsplus hpfs omfs qnx4 qnx6 romfs sysv; do
    module_there $type && mount -t $type -o ro "$loop" mnt && umount mnt
    dd if=/dev/urandom of="$loop" bs=64k count=16 conv=fsync; module_there $type && mount -t $type "$loop" mnt && umount mnt; dd if=/dev/zero of="$loop" bs=64k count=16 conv=fsync
  done || true
  losetup -d "$loop"
}
module_there() { modprobe -q "fs-$1" || modprobe -q "$1"; }

# A memory region that is none stands for one that keeps its content over a reboot.
pstore() { module_there pstore || true; may modprobe -q ramoops mem_address=0x800000000 mem_size=0x100000 ecc=1 record_size=0x4000 console_size=0x4000; mkdir -p mnt; may mount -t pstore pstore mnt; may ls mnt; may umount mnt; may modprobe -q -r ramoops; }

tmpfs() { mkdir -p mnt; mount -t tmpfs -o "size=60m,huge=within_size" tmpfs mnt; use mnt; mount -o remount,size=80m mnt; umount mnt; }

nfs() {
  need rpc.nfsd exportfs; module nfsd
  mkdir -p mnt back; image 100M; mkfs.ext4 -q "$loop"; mount "$loop" back; mkdir -p /run/rpcbind
  pgrep -x rpcbind >/dev/null || rpcbind -w
  mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
  exportfs -o rw,no_root_squash,insecure,fsid=77 "127.0.0.1:$work/back"; rpc.nfsd 4; rpc.mountd
  for version in 4.2 4.1 4.0 3; do
    mount -t nfs -o "vers=$version,nolock,soft,timeo=50" "127.0.0.1:$work/back" mnt || { echo "no NFS $version"; continue; }
    use mnt; for i in 1 2 3 4 5; do umount mnt && break; sleep 1; done
  done
  exportfs -u "127.0.0.1:$work/back"; rpc.nfsd 0; pkill rpc.mountd || true; sleep 0.5; retry umount back; losetup -d "$loop"
}

# What a client of SMB does with its share; the rest of the arguments are options of mount, tried one after the other.
smb_client() { # OPTIONS...
  mounts=0
  for options; do
    mount -t cifs -o "username=root,password=secret,$options" //127.0.0.1/share mnt || { echo "no mount with $options"; continue; }
    mounts=$((mounts + 1)); use mnt || true
    may getcifsacl mnt/big; may setcifsacl -a "ACL:S-1-1-0:ALLOWED/0/R" mnt/big; may smbinfo fileallinfo mnt/big; may smbinfo quota mnt
    may cat /proc/fs/cifs/DebugData /proc/fs/cifs/Stats /proc/fs/cifs/open_files
    # Directories that are opened again while their lease lasts, and one that another mount changes meanwhile.
    ls -l mnt mnt/d3 >/dev/null; ls -l mnt mnt/d3 >/dev/null; may touch back/share/d3/from-behind; ls -l mnt/d3 >/dev/null
    retry umount mnt
  done
  may mount -t cifs -o "username=root,password=wrong,vers=3.1.1" //127.0.0.1/share mnt
  may mount -t cifs -o "username=root,password=secret,vers=3.1.1,multichannel,max_channels=2" //127.0.0.1/share mnt && may umount mnt
  [ "$mounts" -gt 0 ]
}
share() { mkdir -p mnt back; mkfs_back=1; image 100M; mkfs.ext4 -q "$loop"; mount "$loop" back; mkdir -p back/share; chmod 777 back/share; }
unshare_back() { sleep 0.5; retry umount back; losetup -d "$loop"; }

smb() {
  need smbd smbpasswd mount.cifs; module cifs
  share; mkdir -p samba
  # Each connection asks for the host's full name, twice; without an answer from DNS that takes 20 s, and the client
  # gives up after 20.
  grep -qw "$(uname -n)" /etc/hosts || echo "127.0.0.1 $(uname -n)" >>/etc/hosts
  printf '[global]\nserver role = standalone server\nserver min protocol = NT1\ninterfaces = lo\nbind interfaces only = yes\nsmb ports = 445\ndisable netbios = yes\nserver multi channel support = yes\nea support = yes\nload printers = no\nprivate dir = %s\nlock directory = %s\nstate directory = %s\ncache directory = %s\npid directory = %s\nlog file = %s/log\nncalrpc dir = %s\n[share]\npath = %s\nread only = no\n' "$work/samba" "$work/samba" "$work/samba" "$work/samba" "$work/samba" "$work/samba" "$work/samba/ncalrpc" "$work/back/share" >smb.conf
  printf 'secret\nsecret\n' | smbpasswd -c "$work/smb.conf" -s -a root
  smbd -D -s "$work/smb.conf"
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (: </dev/tcp/127.0.0.1/445) 2>/dev/null && break; sleep 0.5; done
  # With extended attributes over SMB 1 the client of 6.1.170 stops at a BUG: CIFSSMBSetEA() copies a name into an array
  # of one byte, which FORTIFY_SOURCE takes for an overflow.
  smb_client "vers=3.1.1,seal" "vers=3.1.1,cifsacl,sign" "vers=3.0,cache=none" "vers=2.1" "vers=1.0,nouser_xattr"
  kill "$(cat samba/smbd.pid)"
  unshare_back
}

ksmbd() {
  need ksmbd.mountd ksmbd.adduser mount.cifs; module ksmbd; module cifs
  # smb2_open() calls opinfo_put(NULL) whenever a client opens a directory without a lease.
  case $(uname -v) in *" 6.1.170-"* | *" 6.1.176-"*) echo "the server of this kernel crashes when a directory is opened (smb2_open)"; exit 77 ;; esac
  share; mkdir -p /etc/ksmbd /usr/local/etc
  printf '[global]\n\tserver min protocol = SMB2_10\n\tserver max protocol = SMB3_11\n\tsmb2 leases = yes\n\tnetbios name = KMEND\n[share]\n\tpath = %s\n\tread only = no\n\tguest ok = no\n\tvfs objects = acl_xattr streams_xattr\n' "$work/back/share" >/etc/ksmbd/smb.conf
  cp /etc/ksmbd/smb.conf /etc/ksmbd/ksmbd.conf
  ksmbd.adduser -a -p secret -i /etc/ksmbd/ksmbdpwd.db root 2>&1 || ksmbd.adduser -a root -p secret -c /etc/ksmbd/ksmbdpwd.db
  ksmbd.mountd
  sleep 1
  smb_client "vers=3.1.1,seal" "vers=3.1.1,cifsacl,sign" "vers=3.0,cache=none" "vers=2.1"
  ksmbd.control -s 2>/dev/null || echo hard >/sys/class/ksmbd-control/kill_server || true
  sleep 0.5; pkill ksmbd.mountd || true
  unshare_back
}

for name; do
  case $name in
    ext2) try ext2 90 made ext2 60M defaults mkfs.ext2 -q ;;
    ext4) try ext4 120 made ext4 120M "usrquota,grpquota" mkfs.ext4 -q -O "ea_inode,quota,project,casefold" ; try ext4-blocks 90 made ext4 60M "data=journal" mkfs.ext4 -q -b 1024 -O "^extents,^64bit,^metadata_csum,inline_data" ;;
    xfs) try xfs 120 made xfs 320M "uquota,gquota" mkfs.xfs -q -f -m reflink=1,rmapbt=1,finobt=1 ;;
    btrfs) try btrfs 150 made btrfs 300M "compress=zstd" mkfs.btrfs -q -f ;;
    f2fs) try f2fs 120 made f2fs 160M "compress_algorithm=lz4,compress_extension=txt,usrquota,grpquota,discard" mkfs.f2fs -q -f -O extra_attr,inode_checksum,compression,quota,flexible_inline_xattr,inode_crtime,sb_checksum ;;
    vfat) try vfat 90 made vfat 60M "iocharset=utf8" mkfs.vfat -F 32 ;;
    exfat) try exfat 90 made exfat 60M defaults mkfs.exfat ;;
    nilfs2) try nilfs2 120 made nilfs2 160M defaults mkfs.nilfs2 -q -f ;;
    gfs2) try gfs2 120 made gfs2 300M "acl,quota=on" mkfs.gfs2 -O -q -p lock_nolock -J 32 ;;
    ocfs2) modprobe -q ocfs2_stack_user; try ocfs2 150 made ocfs2 250M "acl,user_xattr,usrquota" mkfs.ocfs2 -q -M local -F --fs-features=local,sparse,unwritten,inline-data,xattr,indexed-dirs,refcount,discontig-bg,usrquota ;;
    jfs) try jfs 90 made jfs 60M defaults mkfs.jfs -q ;;
    udf) try udf 90 made udf 60M defaults mkudffs --utf8 ;;
    minix) try minix 60 made minix 20M defaults mkfs.minix -3 ;;
    isofs) try isofs 60 packed iso9660 genisoimage -quiet -R -J -o packed src; try isofs-joliet 60 packed iso9660 genisoimage -quiet -J -o packed src ;;
    squashfs) try squashfs 60 packed squashfs mksquashfs src packed -noappend -quiet -no-progress ;;
    erofs) try erofs 60 packed erofs mkfs.erofs -zlz4hc packed src; try erofs-plain 60 packed erofs mkfs.erofs packed src ;;
    overlay) try overlay 90 overlay ;;
    fuse) try fuse 120 fuse ;;
    foreign) try foreign 120 foreign ;;
    pstore) try pstore 60 pstore ;;
    tmpfs) try tmpfs 60 tmpfs ;;
    nfs) try nfs 200 nfs ;;
    smb) try smb 250 smb ;;
    ksmbd) try ksmbd 250 ksmbd ;;
  esac
done
