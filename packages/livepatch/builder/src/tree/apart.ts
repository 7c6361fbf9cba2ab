import type { UnitCommand } from './command.ts';

/**
 * Parts of the source tree that Kbuild links into images of their own, or into programs (their Makefiles;
 * arch/x86/Makefile, `bzImage`).
 */
const APART: readonly (readonly [path: string, image: string])[] = [
  ['arch/x86/boot/', 'the boot code in front of the kernel, which has run'],
  ['arch/x86/realmode/rm/', 'the real-mode trampoline'],
  ['arch/x86/purgatory/', 'the purgatory of kexec'],
  ['arch/x86/entry/vdso/vdso32/', 'the vDSO, which every process has mapped'],
  ['arch/x86/entry/vdso/vdso64/', 'the vDSO, which every process has mapped'],
  ['arch/x86/entry/vdso/common/', 'the vDSO, which every process has mapped'],
  ['drivers/firmware/efi/libstub/', 'the EFI stub, which has run'],
  ['arch/um/', 'user-mode Linux'],
  ['arch/x86/um/', 'user-mode Linux'],
  ['scripts/', 'the build itself'],
  ['usr/', 'the build itself'],
  ['tools/', 'programs of user space'],
  ['samples/', 'examples'],
];

/** Files of the vDSO lie beside those of the kernel that map it. */
const BESIDE_VDSO = 'arch/x86/entry/vdso/';

/** Whether a file may belong to such an image, by where it lies. */
export function isApart(source: string): boolean {
  return source.startsWith(BESIDE_VDSO) || APART.some(([path]) => source.startsWith(path));
}

/**
 * Whether a C text is that of a program which the build runs: compiled for the machine that builds, with its C
 * library, beside files of the kernel (`hostprogs` of arch/x86/entry/vdso/Makefile: vdso2c.c). The kernel has no such
 * headers.
 */
export function isProgram(text: string): boolean {
  return /^[ \t]*#[ \t]*include[ \t]*<(?:stdio|stdlib|unistd)\.h>/m.test(text);
}

/**
 * What a unit is part of that is neither vmlinux nor a module; `undefined` for those. Beside the known places the code
 * model tells: the kernel's own is nothing that another image could use (arch/x86/Makefile, `-mcmodel=kernel`).
 */
export function imageApart(
  source: string,
  { compilerArguments }: Pick<UnitCommand, 'compilerArguments'>,
): string | undefined {
  const known = APART.find(([path]) => source.startsWith(path));
  if (known !== undefined) return known[1];
  const model = compilerArguments.findLast((word) => word.startsWith('-mcmodel='));
  if (model === undefined || model === '-mcmodel=kernel') return undefined;
  return source.startsWith(BESIDE_VDSO) ? 'the vDSO, which every process has mapped' : 'an image of its own';
}
