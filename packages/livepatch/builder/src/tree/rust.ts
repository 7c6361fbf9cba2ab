import type { Run } from '@kmend/base';
import type { KernelConfig } from '@kmend/kernel';

/**
 * Kernels of 7.x are built with Rust (`CONFIG_RUST`), whose compiler Kconfig asks for its version. kmend compiles C
 * alone: a tree is configured and prepared without Rust, and the options that go with it are put back into what C code
 * sees of the configuration (`include/generated/autoconf.h`). The byte proof shows whether that is what was built.
 */
const OF_RUST = /^CONFIG_(?:RUST(?:C_\w+|_\w+)?|BINDGEN_\w+)$/;

/** Lines of an option's definition that are looked at: the longest of those that need Rust has seven. */
const DEFINITION = 40;
const LIMIT_MS = 60_000;

/**
 * Of the options that differ, those that a kernel has and its tree has not for want of a Rust compiler: Rust's own, and
 * what depends on them by its Kconfig file. None where the kernel has no Rust. `source`: the tree.
 */
export async function optionsOfRust(
  { run, signal }: { readonly run: Run; readonly signal: AbortSignal },
  source: string,
  shipped: KernelConfig,
  different: readonly string[],
): Promise<readonly string[]> {
  if (shipped.get('CONFIG_RUST') !== 'y') return [];
  const lost = different.filter((option) => shipped.has(option));
  const found = new Set(lost.filter((option) => OF_RUST.test(option)));
  const others = lost.filter((option) => !found.has(option));
  if (found.size === 0 || others.length === 0) return [...found];
  const names = others.map((option) => option.replace(/^CONFIG_/, ''));
  const pattern = `^(menu)?config (${names.join('|')})$`;
  const args = ['-rhE', '-A', `${DEFINITION}`, '--include=Kconfig*', pattern, '.'];
  const { stdout } = await run('grep', args, { cwd: source, signal, timeoutMs: LIMIT_MS });
  const needs = dependencies(stdout.toString('utf8'));
  // Until no more follow from those that are known.
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const option of others)
      if (needs.get(option)?.some((word) => found.has(word) || OF_RUST.test(word)) === true) found.add(option);
  }
  return lost.filter((option) => found.has(option));
}

/** Options by name, with those that their `depends on` lines name (Documentation/kbuild/kconfig-language.rst). */
export function dependencies(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  let current: string[] | undefined;
  for (const line of text.split('\n')) {
    const name = /^(?:menu)?config (\w+)$/.exec(line)?.[1];
    // Whatever begins at the margin ends a definition.
    if (name !== undefined) {
      current = found.get(`CONFIG_${name}`) ?? [];
      found.set(`CONFIG_${name}`, current);
    } else if (/^\S/.test(line)) current = undefined;
    // An alternative is no need: `RUST || X86`.
    const condition = /^\s+depends on (.+)$/.exec(line)?.[1];
    if (condition === undefined || condition.includes('||')) continue;
    for (const [word] of condition.matchAll(/(?<![!\w])[A-Z]\w*/g)) current?.push(`CONFIG_${word}`);
  }
  return found;
}

/**
 * Lines of autoconf.h for options that need Rust, as Kconfig writes them (scripts/kconfig/confdata.c,
 * `print_symbol_for_c`): what is neither a number nor y or m is a string.
 */
export function autoconfLines(shipped: KernelConfig, options: readonly string[]): string {
  return options
    .map((option) => {
      const value = shipped.get(option) ?? '';
      if (value === 'y') return `#define ${option} 1\n`;
      if (value === 'm') return `#define ${option}_MODULE 1\n`;
      return `#define ${option} ${/^-?(?:\d+|0x[0-9a-fA-F]+)$/.test(value) ? value : JSON.stringify(value)}\n`;
    })
    .join('');
}
