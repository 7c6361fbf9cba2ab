/** A kernel's `.config`: option (with `CONFIG_`) to value; strings without their quotes; what is not set is absent. */
export type KernelConfig = ReadonlyMap<string, string>;

export function parseConfig(text: string): KernelConfig {
  const options = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^(CONFIG_[A-Za-z0-9_]+)=(.*)$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    options.set(match[1], unquote(match[2]));
  }
  return options;
}

/**
 * Kconfig writes strings in double quotes, with a backslash in front of each `"` and backslash
 * (scripts/kconfig/util.c).
 */
function unquote(value: string): string {
  const quoted = /^"(.*)"$/.exec(value)?.[1];
  return quoted === undefined ? value : quoted.replaceAll(/\\(["\\])/g, '$1');
}

/** Options that decide whether and how livepatches work, for `kernel show`. */
export const telling = [
  'CONFIG_LIVEPATCH',
  'CONFIG_MODVERSIONS',
  'CONFIG_KALLSYMS_ALL',
  'CONFIG_UNWINDER_ORC',
  'CONFIG_X86_KERNEL_IBT',
  'CONFIG_CALL_PADDING',
  'CONFIG_PREFIX_SYMBOLS',
  'CONFIG_PRINTK_INDEX',
  'CONFIG_MODULE_SIG',
  'CONFIG_MODULE_SIG_FORCE',
  'CONFIG_DEBUG_INFO_BTF_MODULES',
] as const;
