/**
 * Makefile, "change __FILE__ to the relative path to the source directory": since 6.16 a kernel that is built in its
 * source is left with `./include/linux/bitmap.h`.
 */
const BESIDE_ONLY = /^ifdef building_out_of_srctree\nKBUILD_CPPFLAGS \+= -fmacro-prefix-map=/m;

/**
 * Whether a kernel was built beside its source, so that its texts have shorter paths than a build in the source gives
 * them: `field "dst" at include/linux/bitmap.h:266` (FORTIFY_SOURCE). `makefile`: the tree's.
 */
export function hasShortPaths(makefile: string, vmlinux: Uint8Array): boolean {
  return (
    BESIDE_ONLY.test(makefile) &&
    !Buffer.from(vmlinux.buffer, vmlinux.byteOffset, vmlinux.byteLength).includes('\0./include/')
  );
}

/** Makes `__FILE__` of `./include/linux/bitmap.h` the path without the dot. */
export const SHORT_PATHS = '-fmacro-prefix-map=./=';
