import { SHF_EXECINSTR } from '@kmend/elf';
import type { Address } from './address.ts';
import type { Findings } from './finding.ts';
import type { Simulation } from './simulation.ts';
import type { World } from './world.ts';

/** What of the shipped kernel it takes. */
export type TrackedKernel = Pick<World, 'hasBranchTracking' | 'symbol' | 'read' | 'locate' | 'module'>;

const ENDBR64 = 0xfa1e_0ff3;

/**
 * With CONFIG_X86_KERNEL_IBT an indirect call must land on ENDBR. At boot the kernel overwrites those of functions
 * whose address it never takes (arch/x86/kernel/alternative.c, apply_ibt_endbr): new code that takes such an address
 * faults when it is called through. QEMU's emulation does not show it, so that no proof would. `registered`: where the
 * addresses of replacing functions lie that livepatch is handed; those are returned to, never called
 * (kernel/livepatch/patch.c, klp_ftrace_handler; arch/x86/kernel/ftrace_64.S).
 */
export function checkBranchTracking(
  { loaded, own, world }: Omit<Simulation, 'world'> & { readonly world: TrackedKernel },
  registered: ReadonlySet<Address>,
  findings: Findings,
): void {
  if (!world.hasBranchTracking) return;
  const sealed = new Map<string, ReadonlySet<Address>>();
  const judge = (target: Address, where: string): void => {
    const found = own.functionAt(target);
    if (found !== undefined) {
      if (found.offset === 0 && !startsWithEndbr(found.function.code)) {
        findings.add(
          'reference-astray',
          `${where} keeps the address of ${found.function.name}, which does not begin with ENDBR`,
          { symbol: found.function.name },
        );
      }
      return;
    }
    const located = world.locate(target);
    if (located === undefined || !located.isCode || located.start !== target) return;
    const { object } = located;
    const list = sealed.get(object) ?? sealedBy(world, object);
    sealed.set(object, list);
    const [name = ''] = located.names;
    if (!startsWithEndbr(world.read(target, 4)) || list.has(target)) {
      findings.add(
        'reference-astray',
        `${where} keeps the address of ${name} of ${object}, whose ENDBR the kernel has overwritten: a call through a pointer faults; call it directly in the fix`,
        { symbol: name },
      );
    }
  };
  for (const { name, references } of own.functions) {
    for (const { kind, target, at } of references)
      if (kind === 'value' || kind === 'address') judge(target, `${name}+0x${at.toString(16)}`);
  }
  for (const [section, fields] of loaded.fields) {
    // No code calls the addresses in the loader's tables.
    if ((section.flags & SHF_EXECINSTR) !== 0 || !/^\.(?:data|rodata|bss)/.test(section.name)) continue;
    for (const [offset, { size }] of fields) {
      const place = (loaded.base(section) ?? 0) + offset;
      const target = size === 8 && !registered.has(place) ? loaded.pointer(place) : undefined;
      if (target !== undefined) judge(target, `${section.name}+0x${offset.toString(16)}`);
    }
  }
}

function startsWithEndbr(code: Uint8Array | undefined): boolean {
  return (
    code !== undefined && code.length >= 4 && new DataView(code.buffer, code.byteOffset).getUint32(0, true) === ENDBR64
  );
}

/**
 * Functions whose ENDBR is overwritten: `.ibt_endbr_seal` of vmlinux or a module, four bytes each, counted from their
 * own place.
 */
function sealedBy(world: TrackedKernel, object: string): Set<Address> {
  const found = new Set<Address>();
  const start = world.symbol('__ibt_endbr_seal');
  const end = world.symbol('__ibt_endbr_seal_end');
  const ofKernel = start === undefined || end === undefined ? [] : [{ start, size: end - start }];
  const ofModule = (world.module(object)?.sections('.ibt_endbr_seal') ?? []).map(({ section, base }) => ({
    start: base,
    size: section.size,
  }));
  for (const table of object === 'vmlinux' ? ofKernel : ofModule) {
    const bytes = world.read(table.start, table.size);
    if (bytes === undefined) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 4 <= bytes.length; at += 4) found.add(table.start + at + view.getInt32(at, true));
  }
  return found;
}
