/** Which names take or give back what: the tables behind `families.ts`. */

export type Direction = 'acquire' | 'release' | 'other';
/** `kind` is the same for a call and its counterpart. */
export type Settled = readonly [kind: string, direction: Direction];

/** Locks whose names do not say `lock`, by pattern; `$1` is the kind. */
export const LOCKS: readonly (readonly [RegExp, Direction])[] = [
  [
    /^(?:down|(\w+_)?down_(?:read|write))(?:_(?:nested|killable|interruptible|trylock|timeout|non_owner|nest_lock))*$/,
    'acquire',
  ],
  [/^(?:up|(\w+_)?up_(?:read|write))(?:_non_owner)?$/, 'release'],
  [/^(downgrade)_write$/, 'release'],
  [/^(local_irq|local_bh|preempt|migrate)_(?:disable|save)(?:_\w+)?$/, 'acquire'],
  [/^(local_irq|local_bh|preempt|migrate)_(?:enable|restore)(?:_\w+)?$/, 'release'],
  [/^get_(cpu)(?:_ptr|_var|_light)?$/, 'acquire'],
  [/^put_(cpu)(?:_ptr|_var|_light)?$/, 'release'],
  [/^lock_(sock)(?:_fast|_nested)?$/, 'acquire'],
  [/^(?:release|unlock)_(sock)(?:_fast)?$/, 'release'],
  [/^(?:read|write|do_write|raw_read|raw_write|__read)_(seq)(?:count_\w*begin|begin)(?:_\w+)?$/, 'acquire'],
  [/^(?:read|write|do_write|raw_read|raw_write|__read)_(seq)(?:count_\w*(?:end|retry)|retry)(?:_\w+)?$/, 'release'],
  [/^(?:read|write)_(seq)lock(?:_\w+)?$/, 'acquire'],
  [/^(?:read|write)_(seq)unlock(?:_\w+)?$/, 'release'],
  [/^(?:sb|file)_start_(write|pagefault|intwrite)(?:_trylock)?$/, 'acquire'],
  [/^(?:sb|file)_end_(write|pagefault|intwrite)$/, 'release'],
  [/^__?(mnt)_want_write(?:_file)?$|^(mnt)_want_write(?:_file)?$/, 'acquire'],
  [/^__?(mnt)_drop_write(?:_file)?$|^(mnt)_drop_write(?:_file)?$/, 'release'],
];

/**
 * Words beside `lock` with which a name says something about a lock and takes none; and locks on files, which are
 * objects.
 */
export const NO_LOCK =
  /(?:^|_)(?:init|held|assert|lockdep|might|is|class|key|limit|posix|flock|locks|fcntl|lease|stat|owner|contended|needbreak)(?:_|$)|^vfs_lock_file$|^lock_(?:acquire|release|map_\w+)$/;
/** Words that a lock's name shares with its counterpart's or that say how it is taken: what is left is the kind. */
export const LOCK_NOISE =
  /^(?:|lock|unlock|trylock|relock|raw|irq|irqsave|irqrestore|bh|nested|nest|interruptible|killable|io|try|safe|fast|slow)$/;

/** RCU's own calls (include/linux/rcupdate.h, srcu.h, rculist.h). */
export const RCU: readonly (readonly [RegExp, string, Direction])[] = [
  [/^rcu_read_lock(?:_bh|_sched|_notrace|_trace|_sched_notrace)?$/, 'read', 'acquire'],
  [/^rcu_read_unlock(?:_bh|_sched|_notrace|_trace|_sched_notrace)?$/, 'read', 'release'],
  [/^srcu_read_lock(?:_\w+)?$/, 'srcu', 'acquire'],
  [/^srcu_read_unlock(?:_\w+)?$/, 'srcu', 'release'],
  [
    /^(?:synchronize|call|kfree|kvfree)_s?rcu(?:_\w+)?$|^synchronize_net$|^s?rcu_barrier(?:_\w+)?$/,
    'grace period',
    'other',
  ],
  [/^rcu_(?:assign|replace)_pointer$|^RCU_INIT_POINTER$|^rcu_swap_protected$/, 'publish', 'other'],
  [/^s?rcu_dereference(?:_\w+)?$/, 'dereference', 'other'],
  [/^(?:__)?h?list_(?:\w+_)?rcu$|^hlist_(?:nulls_|bl_)\w+_rcu$|^rb_\w+_rcu$/, 'list', 'other'],
];

/** Acquiring and releasing calls whose names have no pattern of their own. */
export const REFERENCES: ReadonlyMap<string, Settled> = new Map(
  Object.entries({
    file: [
      'fget fget_raw fget_task fdget fdget_raw fdget_pos get_file get_file_rcu',
      'fput fput_sync fdput fdput_pos __fput_sync',
    ],
    dentry: ['dget dget_dlock dget_parent', 'dput'],
    inode: ['iget igrab ihold iget_locked iget5_locked', 'iput iget_failed'],
    mount: ['mntget', 'mntput mntput_no_expire'],
    mm: ['mmget mmget_not_zero mmgrab get_task_mm', 'mmput mmput_async mmdrop mmdrop_sched'],
    dst: ['dst_hold dst_hold_safe dst_clone skb_dst_force', 'dst_release dst_release_immediate'],
    neigh: ['neigh_hold neigh_clone neigh_lookup', 'neigh_release'],
    fib6_info: ['fib6_info_hold fib6_info_hold_safe', 'fib6_info_release'],
    dev: [
      'dev_hold netdev_hold dev_get_by_name dev_get_by_index netdev_get_by_index netdev_get_by_name',
      'dev_put netdev_put',
    ],
    sock: ['sock_hold sockfd_lookup', 'sock_put sockfd_put sock_gen_put'],
    page: [
      'get_page try_get_page folio_get folio_try_get get_user_pages get_user_pages_fast pin_user_pages pin_user_pages_fast',
      'put_page folio_put put_pages_list release_pages unpin_user_page unpin_user_pages',
    ],
    buffer: ['get_bh sb_bread sb_getblk __bread', 'put_bh brelse __brelse'],
    module: ['try_module_get __module_get', 'module_put'],
    pid: ['get_pid get_task_pid find_get_pid', 'put_pid'],
    task: [
      'get_task_struct get_pid_task find_get_task_by_vpid',
      'put_task_struct put_task_struct_rcu_user put_task_struct_many',
    ],
    cred: ['get_cred get_current_cred get_task_cred get_new_cred prepare_creds', 'put_cred abort_creds'],
    net: ['get_net maybe_get_net get_net_ns_by_fd get_net_ns_by_pid get_net_ns_by_id', 'put_net'],
    net_track: ['get_net_track', 'put_net_track'],
    key: ['key_get lookup_user_key', 'key_put key_ref_put'],
    bio: ['bio_get', 'bio_put'],
  }).flatMap(([kind, [acquire = '', release = '']]): [string, Settled][] => [
    ...acquire.split(' ').map((name): [string, Settled] => [name, [kind, 'acquire']]),
    ...release.split(' ').map((name): [string, Settled] => [name, [kind, 'release']]),
  ]),
);

/** `put` that puts data somewhere, and `get` that only reads: no references. */
export const NO_REFERENCE =
  /^(?:get|put|__get|__put)_(?:user|unaligned|random|cmsg|unused_fd|old|compat|timespec|itimerspec|timeval|u8|u16|u32|u64|le\d+|be\d+|entry|char|prev|sigset|order|cycles|current|unsafe)(?:_|\d|$)|^(?:__)?(?:nla|nlmsg|genlmsg|skb|seq|kfifo|xdr|ipv6_addr|this_cpu|tracepoint|sg|nfnl|trace|pskb|sk_msg)_(?:\w+_)?(?:get|put)|^(?:unsafe_|__unsafe_|compat_)?(?:get|put)_user|drvdata/;
/** Words behind `get` or `put` that say how, not what. */
export const MODIFIER =
  /^(?:unless|zero|not|rcu|live|many|safe|noref|final|locked|close|sync|nowait|async|deferred|and|test|lock|mutex|irqsave|one|ns|track|raw|or|negative|bias|checked|acquire|release|relaxed|if)$/;
