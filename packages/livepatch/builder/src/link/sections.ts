import { type ElfFile, SHF_LINK_ORDER } from '@kmend/elf';

/**
 * Lets the places that `-fpatchable-function-entry` lists be joined with those of extracted functions, which lie in one
 * section for all code: gcc ties each list to its code (SHF_LINK_ORDER), and the linker refuses to join both kinds.
 * Whether anything was tied.
 */
export function unorder(file: ElfFile): boolean {
  const ordered = file.sections.filter(({ flags }) => (flags & SHF_LINK_ORDER) !== 0);
  for (const section of ordered) section.flags &= ~SHF_LINK_ORDER;
  return ordered.length > 0;
}

/**
 * Drops objtool's list of functions whose ENDBR the kernel is to overwrite, since nothing in their object takes their
 * address: another file of the livepatch may. An ENDBR that stays harms nothing.
 */
export function dropSeals(file: ElfFile): void {
  const seals = file.sections.filter(({ name }) => name === '.ibt_endbr_seal');
  file.sections = file.sections.filter((section) => !seals.includes(section));
  file.symbols = file.symbols.filter(({ place }) => typeof place === 'number' || !seals.includes(place));
}
