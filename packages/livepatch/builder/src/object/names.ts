/**
 * A name without what clang's link-time optimisation adds to a private one that other units come to use:
 * `state.llvm.9401` -> `state`.
 */
export function unpromoted(name: string): string {
  return name.replace(/\.llvm\.\d+/, '');
}

/**
 * A name without the numbers that the compiler gives out: `foo.isra.0` -> `foo.isra`, `once.123` -> `once`; and without
 * the counter and line in the names of BTF ids (include/linux/btf_ids.h): `__BTF_ID__struct__sock__1234` ->
 * `__BTF_ID__struct__sock__`.
 */
export function stem(name: string): string {
  const plain = name.startsWith('__BTF_ID__') ? name.replace(/\d+$/, '') : name;
  return unpromoted(plain).replaceAll(/\.\d+(?=\.|$)/g, '');
}

/**
 * Of local data: the name of a variable inside a function, `calls.3` by gcc, `handle.calls` or `handle.calls.3` by
 * clang.
 */
export function isStaticLocalName(name: string): boolean {
  return /.\./.test(unpromoted(name));
}

/** The function a `.cold` part was split from; `undefined` for other names. */
export function coldParent(name: string): string | undefined {
  const match = /^(.*)\.cold(?:\.\d+)?$/.exec(name);
  return match?.[1];
}

/**
 * `__pfx_foo` and `__cfi_foo`: padding and type hash in front of `foo`, which travel with it (objtool --prefix,
 * -fsanitize=kcfi).
 */
export function isPrefixSymbol(name: string): boolean {
  return name.startsWith('__pfx_') || name.startsWith('__cfi_');
}

/**
 * What objtool, modpost and the linker make of an object, and where things were in the source: says nothing about what
 * the code does.
 */
export function isByProduct(section: string): boolean {
  return (
    BY_PRODUCTS.has(section) ||
    /^\.(?:note|orc_|BTF|debug_|sframe|llvm|eh_frame)/.test(section) ||
    section.startsWith('__verbose')
  );
}

const BY_PRODUCTS = new Set([
  '.return_sites',
  '.retpoline_sites',
  '.call_sites',
  '.ibt_endbr_seal',
  '.cfi_sites',
  '.kcfi_traps',
  '.static_call_sites',
  '.modinfo',
  '.comment',
  '.printk_index',
  '__versions',
  '__version_ext_crcs',
  '__version_ext_names',
  '.gnu.linkonce.this_module',
]);
