/**
 * What is read out of a kernel's and a module's own files, without the store: for those who have only the files, and no
 * time to load the rest.
 */
export { structLayouts } from '../btf.ts';
export { moduleSymbols } from '../modules.ts';
export { decodeKallsyms } from './kallsyms.ts';
export { extractVmlinux } from './vmlinux.ts';
