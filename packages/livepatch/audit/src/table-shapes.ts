export type Aim = 'code' | 'call' | 'lock' | 'bug' | 'traced' | 'replacement' | 'key' | 'text';

export interface TableShape {
  /** Struct of the kernel that says how long an entry is and where its members lie, or a fixed length. */
  readonly struct?: string;
  readonly size?: number;
  /** Symbols around the table in vmlinux, where it is no section of its own there. */
  readonly bounds?: readonly [string, string];
  readonly fields: readonly {
    readonly member?: string;
    readonly offset?: number;
    readonly wide?: boolean;
    readonly aim: Aim;
  }[];
}

/** Tables by section (include/asm-generic/vmlinux.lds.h and arch/x86/kernel/module.c). */
export const TABLES: Readonly<Record<string, TableShape>> = {
  __bug_table: {
    struct: 'bug_entry',
    fields: [
      { member: 'bug_addr_disp', aim: 'bug' },
      { member: 'file_disp', aim: 'text' },
    ],
  },
  __ex_table: {
    struct: 'exception_table_entry',
    fields: [
      { member: 'insn', aim: 'code' },
      { member: 'fixup', aim: 'code' },
    ],
  },
  '.altinstructions': {
    struct: 'alt_instr',
    fields: [
      { member: 'instr_offset', aim: 'code' },
      { member: 'repl_offset', aim: 'replacement' },
    ],
  },
  '.smp_locks': { size: 4, fields: [{ offset: 0, aim: 'lock' }] },
  __jump_table: {
    struct: 'jump_entry',
    bounds: ['__start___jump_table', '__stop___jump_table'],
    fields: [
      { member: 'code', aim: 'code' },
      { member: 'target', aim: 'code' },
      { member: 'key', wide: true, aim: 'key' },
    ],
  },
  '.static_call_sites': {
    struct: 'static_call_site',
    bounds: ['__start_static_call_sites', '__stop_static_call_sites'],
    fields: [
      { member: 'addr', aim: 'call' },
      { member: 'key', aim: 'key' },
    ],
  },
  '.return_sites': { size: 4, fields: [{ offset: 0, aim: 'call' }] },
  '.retpoline_sites': { size: 4, fields: [{ offset: 0, aim: 'call' }] },
  '.call_sites': { size: 4, fields: [{ offset: 0, aim: 'call' }] },
  '.parainstructions': { struct: 'paravirt_patch_site', fields: [{ member: 'instr', wide: true, aim: 'code' }] },
  __mcount_loc: { size: 8, fields: [{ offset: 0, wide: true, aim: 'traced' }] },
  __dyndbg: {
    struct: '_ddebug',
    fields: (['modname', 'function', 'filename', 'format'] as const).map((member) => ({
      member,
      wide: true,
      aim: 'text',
    })),
  },
  '.ibt_endbr_seal': { size: 4, fields: [{ offset: 0, aim: 'code' }] },
};

/** Tables of addresses; the others count from each field's own place. */
export const ABSOLUTE = new Set(['.parainstructions', '__mcount_loc', '__dyndbg']);
