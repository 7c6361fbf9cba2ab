/**
 * As kernel/trace/ftrace.c (t_show) of 6.1 prints: flags R, I, D in columns of two, then the trampoline behind a tab.
 */
export const ENABLED = [
  'tcp_ack (1)   I  \ttramp: 0xffffffffc0a2c000 (klp_ftrace_handler+0x0/0x1a0) ->klp_ftrace_handler+0x0/0x1a0',
  'vfs_read (2) R    \ttramp: ERROR!',
  'vfs_open (1) R I  \ttramp: 0xffffffffc0a2e000 (kprobe_ftrace_handler+0x0/0x1f0) ->kprobe_ftrace_handler+0x0/0x1f0',
  'do_unlinkat (1)     D ->arch_ftrace_ops_list_func+0x0/0x1e0',
  '\tdirect-->bpf_trampoline_6442536413+0x0/0x1000',
  'wake_up_process (1) R   D->call_direct_funcs+0x0/0x20',
  '\tdirect-->my_tramp+0x0/0x1c [ftrace_direct]',
  'ext4_readdir [ext4] (1)   I  ->klp_ftrace_handler+0x0/0x1a0',
  'ip_rcv.part.0 (1)      ->function_trace_call+0x0/0x160',
  '__ftrace_invalid_address___64',
  '',
].join('\n');

/** As kernel/kprobes.c (report_probe) prints: two blanks between columns, the module or a blank, then the states. */
export const KPROBES = [
  'ffffffff8d1c2d40  k  vfs_open+0x0    [FTRACE]',
  'ffffffff8d1c2f7a  k  vfs_read+0x2a    [OPTIMIZED]',
  'ffffffff8d1c3000  r  vfs_write+0x4    [FTRACE]',
  'ffffffffc0451010  k  ext4_readdir+0x10  ext4 [DISABLED]',
  'ffffffffc0459990  k  ext4_lookup+0x1b  ext4 ',
  '0000000000000000  k  tcp_ack.cold+0x7    ',
  'ffffffffc0600000  k  init_thing+0x0  gone [GONE][FTRACE]',
  'ffffffffc0600010  k  0xffffffffc0600010 ',
  '',
].join('\n');
