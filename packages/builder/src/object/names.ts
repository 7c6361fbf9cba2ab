import { CALLBACKS_SECTION } from '../author/callbacks.ts';

/**
 * A name without the numbers that the compiler gives out: `foo.isra.0` -> `foo.isra`, `once.123` -> `once`; and without the counter
 * and line in the names of BTF ids (include/linux/btf_ids.h): `__BTF_ID__struct__sock__1234` -> `__BTF_ID__struct__sock__`.
 */
export function stem(name: string): string {
  const plain = name.startsWith('__BTF_ID__') ? name.replace(/\d+$/, '') : name;
  return plain.replaceAll(/\.\d+(?=\.|$)/g, '');
}

/** The function a `.cold` part was split from; `undefined` for other names. */
export function coldParent(name: string): string | undefined {
  const match = /^(.*)\.cold(?:\.\d+)?$/.exec(name);
  return match?.[1];
}

const OWN_COPY = new Set([
  '__key',
  '__warned',
  '__already_done',
  '__func__',
  '__FUNCTION__',
  '__PRETTY_FUNCTION__',
  '_rs',
  'CSWTCH',
  '_entry',
  '_entry_ptr',
  '__print_once',
  '__flags',
]);

/**
 * Data of which every copy is as good as another: source-location noise, once-flags, lock classes, conversion tables; and what is meant
 * for the builder. A livepatch
 * carries its own; comparing it with the kernel's would tell nothing.
 */
export function isOwnCopy(name: string, section: string): boolean {
  return (
    OWN_COPY.has(stem(name)) ||
    name.startsWith('__UNIQUE_ID_') ||
    name.startsWith('.L') ||
    // A constant inside a function: nothing but that function can name it, and nothing can change it.
    (/\.\d+$/.test(name) && section.startsWith('.rodata')) ||
    section === '.data.once' ||
    section === '.data..once' ||
    section === '__dyndbg' ||
    section === '.printk_index' ||
    section === CALLBACKS_SECTION
  );
}
