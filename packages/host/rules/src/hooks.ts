/**
 * Name, module and count at the start of a line of `enabled_functions` (kernel/trace/ftrace.c, t_show): `name [module]
 * (2)`.
 */
export const hookedFunction = '^([^ \\t[(]+)(?: \\[(\\w+)\\])? \\(\\d+\\)';

/** The flags behind it: ` R I D`, a blank for each that is not set. */
export const hookFlags = '^((?: [A-Z ])*)';

/** A line of its own, of the function above it: the symbol that it calls directly. */
export const directCall = '^\\tdirect-->([^ \\t+]+)';

/**
 * Direct calls that make room: BPF's, which the kernel rebuilds to share the function (kernel/bpf/trampoline.c,
 * BPF_TRAMP_F_SHARE_IPMODIFY).
 */
export const sharedCall = '^bpf_trampoline_';

/**
 * Address, kind (`k`, `r`: of a return), symbol, offset, rest of a line of `kprobes/list` (kernel/kprobes.c,
 * report_probe).
 */
export const kprobe = '^[0-9a-f]+ +([kr]) +([^ \\t+]+)\\+0x([0-9a-f]+)(?:\\/0x[0-9a-f]+)?( .*)?$';

/** The module in that rest. */
export const kprobeModule = '^ +\\[?(\\w+)\\]? ';

/** Neither on memory that is gone nor switched off. */
export const kprobeAsleep = '\\[(GONE|DISABLED)\\]';

/** It sits on the function's ftrace call and goes through ftrace. */
export const kprobeOnEntry = '\\[FTRACE\\]';

/**
 * Bytes read of a listing: the function tracer may hook every function there is, 60,000 lines of 6.1 of up to some 300
 * bytes.
 */
export const listingBytes = 32_000_000;

/** gcc's cold part of a function counts to it: `name.cold`. */
export const coldPart = '\\.cold(\\.\\d+)?$';
