import type { ElfFile } from '@kmend/elf';
import { KernelError } from './error.ts';

/** Size and layout of one struct, in bytes. */
export interface StructLayout {
  readonly size: number;
  /** Member name to its offset. */
  readonly members: ReadonlyMap<string, number>;
}

/**
 * Documentation/bpf/btf.rst, "Type encoding": bytes behind the common header of each kind, fixed and for each of
 * `vlen`.
 */
const EXTRA: readonly (readonly [fixed: number, each: number] | undefined)[] = [
  undefined, // unused
  [4, 0], // INT
  [0, 0], // PTR
  [12, 0], // ARRAY
  [0, 12], // STRUCT
  [0, 12], // UNION
  [0, 8], // ENUM
  [0, 0], // FWD
  [0, 0], // TYPEDEF
  [0, 0], // VOLATILE
  [0, 0], // CONST
  [0, 0], // RESTRICT
  [0, 0], // FUNC
  [0, 8], // FUNC_PROTO
  [4, 0], // VAR
  [0, 12], // DATASEC
  [0, 0], // FLOAT
  [4, 0], // DECL_TAG
  [0, 0], // TYPE_TAG
  [0, 12], // ENUM64
];
const KIND_STRUCT = 4;
/** Bytes of a name with its zero that are read: kernel/bpf/btf.c accepts 512 (KSYM_NAME_LEN). */
const NAME_LIMIT = 512;

/**
 * Layouts of those of the named structs that the kernel has, from the kernel's own type information (the `.BTF` section
 * of vmlinux). `btf-missing` without, or when damaged.
 */
export function structLayouts(vmlinux: ElfFile, names: readonly string[]): ReadonlyMap<string, StructLayout> {
  const section = vmlinux.sections.find(({ name }) => name === '.BTF');
  if (section === undefined) {
    throw new KernelError('btf-missing', 'the kernel has no BTF type information (CONFIG_DEBUG_INFO_BTF)', {
      hint: 'without it kmend does not know how large the entries of the kernel’s tables are (bugs, exceptions, alternatives) and how it lays out its livepatch structures, and neither builds nor audits: build the kernel with CONFIG_DEBUG_INFO_BTF=y',
    });
  }
  const bytes = Buffer.from(section.data.buffer, section.data.byteOffset, section.data.byteLength);
  if (bytes.length < 24 || bytes.readUInt16LE(0) !== 0xeb9f) throw damaged('no magic');
  const header = bytes.readUInt32LE(4);
  const typesAt = header + bytes.readUInt32LE(8);
  const typesEnd = typesAt + bytes.readUInt32LE(12);
  const stringsAt = header + bytes.readUInt32LE(16);
  const stringsEnd = stringsAt + bytes.readUInt32LE(20);
  if (typesEnd > bytes.length || stringsEnd > bytes.length) throw damaged('parts beyond its end');
  const text = (offset: number): string => {
    const start = stringsAt + offset;
    const length = bytes.subarray(start, Math.min(start + NAME_LIMIT, stringsEnd)).indexOf(0);
    if (length === -1) throw damaged('a name that is too long or beyond its end');
    return bytes.toString('latin1', start, start + length);
  };
  const wanted = new Set(names);
  const found = new Map<string, StructLayout>();
  for (let at = typesAt; at + 12 <= typesEnd; ) {
    const info = bytes.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 0x1f;
    const count = info & 0xffff;
    const extra = EXTRA[kind];
    if (extra === undefined) throw damaged(`a type of unknown kind ${kind}`);
    const next = at + 12 + extra[0] + extra[1] * count;
    if (next > typesEnd) throw damaged('a type beyond its end');
    if (kind === KIND_STRUCT) {
      const name = text(bytes.readUInt32LE(at));
      if (wanted.has(name) && !found.has(name)) {
        const members = new Map<string, number>();
        for (let member = 0; member < count; member++) {
          const place = at + 12 + member * 12;
          // With kind_flag the upper 8 bits of the offset are the size of a bit field.
          const bits = bytes.readUInt32LE(place + 8) & (info >>> 31 === 1 ? 0xffffff : 0xffffffff);
          members.set(text(bytes.readUInt32LE(place)), bits >>> 3);
        }
        found.set(name, { size: bytes.readUInt32LE(at + 8), members });
      }
    }
    at = next;
  }
  return found;
}

function damaged(what: string): KernelError {
  return new KernelError('btf-missing', `the kernel's BTF section cannot be read: it has ${what}`);
}
