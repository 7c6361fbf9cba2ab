import type { StructLayout } from '@kmend/kernel';
import type { Address } from './address.ts';
import { decode } from './instructions.ts';
import type { Loaded } from './loaded.ts';

const TABLE = '.altinstructions';

/**
 * Addresses inside instructions at which another one begins once the kernel has put a replacement there. For example
 * `call *pv_ops+0xf0`, of six bytes, becomes `pushf; pop %rax` and no-operations: instructions begin at its second and
 * third byte too (arch/x86/kernel/alternative.c, `apply_alternatives()`). `layout`: of `struct alt_instr`.
 */
export function placesInReplacements(loaded: Loaded, layout: StructLayout | undefined): ReadonlySet<Address> {
  const places = new Set<Address>();
  const section = loaded.file.sections.find(({ name }) => name === TABLE);
  const base = section === undefined ? undefined : loaded.base(section);
  if (section === undefined || base === undefined || layout === undefined) return places;
  const [original, replacement, length, replaced] = ['instr_offset', 'repl_offset', 'instrlen', 'replacementlen'].map(
    (member) => layout.members.get(member),
  );
  if (original === undefined || replacement === undefined || length === undefined || replaced === undefined)
    return places;
  const memory = loaded.memory(section);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const follow = (field: number): Address => base + field + view.getInt32(field, true);
  for (let entry = 0; entry + layout.size <= section.size; entry += layout.size) {
    const from = loaded.at(follow(entry + replacement));
    const bytes = view.getUint8(entry + replaced);
    if (from === undefined || !loaded.isCode(from.section)) continue;
    const code = loaded.memory(from.section).subarray(from.offset, from.offset + bytes);
    // Behind the replacement the kernel puts no-operations.
    for (const at of [...(decode(code) ?? []).map((instruction) => instruction.at), bytes])
      if (at < view.getUint8(entry + length)) places.add(follow(entry + original) + at);
  }
  return places;
}
