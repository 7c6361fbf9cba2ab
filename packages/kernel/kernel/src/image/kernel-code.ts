import { type Section, SHF_EXECINSTR, SHF_WRITE } from '@kmend/elf';

/**
 * Whether a section of vmlinux is code. `.data` of 6.14 and later is marked executable as well, since a piece of code
 * lies in it that kexec copies (`.data.relocate_kernel` of arch/x86/kernel/vmlinux.lds.S). For that reason kallsyms
 * there gives every variable the letter of code, too.
 */
export function isKernelCode({ flags }: Pick<Section, 'flags'>): boolean {
  return (flags & SHF_EXECINSTR) !== 0 && (flags & SHF_WRITE) === 0;
}
