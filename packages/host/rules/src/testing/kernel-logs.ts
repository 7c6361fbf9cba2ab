/**
 * Reports of a 6.1.0-47-amd64 kernel into which a module made one fault of each kind, as `dmesg` of Debian 12 printed
 * them. Most of the registers and of the unwinder's guesses are left out.
 */
export const MODULE = 'kmend_0123456789ab';
/** Frames of a stack: in the livepatch's code, and in other code. */
export const OURS = `tcp_ack+0x16/0x20 [${MODULE}]`;
export const OTHER = 'e1000_clean+0x5f0/0x900 [e1000]';

const MODULES =
  'Modules linked in: crc32_pclmul ghash_clmulni_intel kmend_0123456789ab(OEK) sha512_ssse3 [last unloaded: kmend_000000000001]';
const CPU = 'CPU: 1 PID: 313 Comm: sh Tainted: G        W  OE K    6.1.0-47-amd64 #1  Debian 6.1.170-3';
const HARDWARE = 'Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian-1.16.2-1 04/01/2014';
const REGISTERS = [
  'Code: 73 d0 d3 90 0f 1f 44 00 00 0f 0b c3 cc cc cc cc 0f 1f 40 00 <0f> 0b c3 cc cc cc cc',
  'RSP: 0018:ffffd28dc058bab8 EFLAGS: 00000286',
  'RAX: 0000000000000000 RBX: 0000000000000002 RCX: 0000000000000027',
  'FS:  00007f2f48416740(0000) GS:ffff8f4dfeb00000(0000) knlGS:0000000000000000',
  'CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033',
  'CR2: 000055da1540a4c8 CR3: 0000000002462000 CR4: 0000000000750ee0',
  'PKRU: 55555554',
];
const SYSCALL = [
  ' full_proxy_write+0x53/0x80',
  ' vfs_write+0xc7/0x3f0',
  ' ? exit_to_user_mode_prepare+0x44/0x240',
  ' ksys_write+0x6b/0xf0',
  ' do_syscall_64+0x55/0xb0',
  ' entry_SYSCALL_64_after_hwframe+0x6e/0xd8',
  'RIP: 0033:0x7f2f48511350',
  'RSP: 002b:00007ffce2310c88 EFLAGS: 00000202 ORIG_RAX: 0000000000000001',
  ' </TASK>',
];
export const END = '---[ end trace 0000000000000000 ]---';

const at = (pointer: string): string[] => [CPU, HARDWARE, `RIP: 0010:${pointer}`, ...REGISTERS];
const stack = (...frames: string[]): string[] => [
  'Call Trace:',
  ' <TASK>',
  ...frames.map((it) => ` ${it}`),
  ...SYSCALL,
];

/** A warning with a message; `pointer`: where, `frames`: the stack from there on. */
export const warning = (pointer: string, ...frames: string[]): string[] => [
  '------------[ cut here ]------------',
  'patched: 7 is wrong',
  `WARNING: CPU: 1 PID: 313 at net/ipv4/tcp_input.c:3700 ${pointer}`,
  MODULES,
  ...at(pointer),
  ...stack(...frames),
  END,
];

export const bug = (pointer: string, ...frames: string[]): string[] => [
  'list_del corruption. prev->next should be ffffd28dc05b3aa0, but was ffffd28dc05b3ab0. (prev=ffffd28dc05b3aa0)',
  '------------[ cut here ]------------',
  'kernel BUG at lib/list_debug.c:59!',
  'invalid opcode: 0000 [#1] PREEMPT SMP NOPTI',
  ...at(pointer),
  ...stack(...frames),
  MODULES,
  END,
];

export const nullPointer = (pointer: string, ...frames: string[]): string[] => [
  'BUG: kernel NULL pointer dereference, address: 0000000000000008',
  '#PF: supervisor write access in kernel mode',
  '#PF: error_code(0x0002) - not-present page',
  'PGD 0 P4D 0 ',
  'Oops: 0002 [#3] PREEMPT SMP NOPTI',
  ...at(pointer),
  ...stack(...frames),
  MODULES,
  'CR2: 0000000000000008',
  END,
  // What the first oops of this boot was, once more (arch/x86/kernel/dumpstack.c, exec_summary_regs).
  'RIP: 0010:__list_del_entry_valid.cold+0x37/0x6f',
  ...REGISTERS,
  'note: sh[369] exited with irqs disabled',
];

export const protectionFault = (pointer: string, ...frames: string[]): string[] => [
  'general protection fault, maybe for address 0x0: 0000 [#2] PREEMPT SMP NOPTI',
  ...at(pointer),
  ...stack(...frames),
  MODULES,
  END,
];

export const atomic = (...frames: string[]): string[] => [
  'BUG: scheduling while atomic: sh/324/0x00000002',
  MODULES,
  CPU,
  HARDWARE,
  ...stack('dump_stack_lvl+0x44/0x5c', '__schedule_bug.cold+0x42/0x4e', '__schedule+0x800/0x9e0', ...frames),
];

/** As kernel/watchdog.c prints: the registers are those of what hangs. */
export const softLockup = (pointer: string, ...frames: string[]): string[] => [
  'watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:313]',
  MODULES,
  ...at(pointer),
  ...stack(...frames),
];

/** As kernel/rcu/tree_stall.h and lib/nmi_backtrace.c print; the second CPU's stack is seen from an interrupt. */
export const rcuStall = (pointer: string, ...frames: string[]): string[] => [
  'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
  'rcu: \t1-....: (5249 ticks this GP) idle=1c54/1/0x4000000000000000 softirq=3011/3011 fqs=2449',
  '\t(detected by 0, t=5252 jiffies, g=3577, q=203 ncpus=2)',
  'Sending NMI from CPU 0 to CPUs 1:',
  'NMI backtrace for cpu 1',
  CPU,
  HARDWARE,
  `RIP: 0010:${pointer}`,
  ...REGISTERS,
  'Call Trace:',
  ' <IRQ>',
  ' </IRQ>',
  ' <TASK>',
  ' asm_sysvec_apic_timer_interrupt+0x16/0x20',
  ...frames.map((it) => ` ${it}`),
  ...SYSCALL,
];

export const hungTask = (...frames: string[]): string[] => [
  'INFO: task kworker/1:2:97 blocked for more than 120 seconds.',
  '      Tainted: G           OE K    6.1.0-47-amd64 #1 Debian 6.1.170-3',
  '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
  'task:kworker/1:2     state:D stack:0     pid:97    ppid:2      flags:0x00004000',
  'Workqueue: events do_work',
  ...stack('__schedule+0x351/0x9e0', 'schedule+0x5a/0xd0', ...frames),
];

/** As mm/kasan/report.c prints. */
export const kasan = (where: string, ...frames: string[]): string[] => [
  '==================================================================',
  `BUG: KASAN: slab-out-of-bounds in ${where}`,
  'Read of size 8 at addr ffff888103a1f408 by task sh/313',
  '',
  CPU,
  HARDWARE,
  ...stack('dump_stack_lvl+0x49/0x63', 'print_report+0x171/0x4a8', 'kasan_report+0xb7/0x130', ...frames),
  '',
  'Allocated by task 313:',
  ' kasan_save_stack+0x1e/0x40',
  '',
  'Memory state around the buggy address:',
  ' ffff888103a1f300: fc fc fc fc fc fc fc fc fc fc fc fc fc fc fc fc',
  '==================================================================',
];

/** A warning in an interrupt; `frames`: the stack of what was interrupted. */
export const interrupted = (pointer: string, ...frames: string[]): string[] => [
  '------------[ cut here ]------------',
  'WARNING: CPU: 0 PID: 12 at kernel/time/timer.c:1700 call_timer_fn+0x27/0x130',
  MODULES,
  ...at('call_timer_fn+0x27/0x130'),
  'Call Trace:',
  ' <IRQ>',
  ' __run_timers.part.0+0x1d7/0x260',
  ' run_timer_softirq+0x26/0x50',
  ' </IRQ>',
  ' <TASK>',
  ' asm_sysvec_apic_timer_interrupt+0x16/0x20',
  `RIP: 0010:${pointer}`,
  ...REGISTERS,
  ...frames.map((it) => ` ${it}`),
  ...SYSCALL,
  END,
];

/** Lines with time stamps, a microsecond apart; `caller`: the column of CONFIG_PRINTK_CALLER. */
export function stamped(lines: readonly string[], seconds = 100, caller?: string): string {
  const column = caller === undefined ? '' : `[${caller.padStart(6)}]`;
  return lines.map((it, index) => `[${(seconds + index / 1e6).toFixed(6).padStart(12)}]${column} ${it}\n`).join('');
}
