import { type KernelConfig, parseConfig } from '../config.ts';
import { KernelError } from '../error.ts';
import type { KernelSymbol } from '../kernel.ts';
import { type Exports, namesOfVmlinux, parseSymvers } from '../symvers.ts';
import type { VmlinuxFacts } from './memory-facts.ts';
import type { ModuleFacts } from './module-facts.ts';

/**
 * Checks that the parts of a kernel are of one build, by what each says of it. What nothing in them says (an option
 * that leaves no trace, a patch of the source) the byte proof decides afterwards. All throw `kernel-parts-differ`.
 */

/** vmlinux and `.config`: the compiler, options with a trace in its version string, and the text that it may carry. */
export function checkConfig(vmlinux: VmlinuxFacts, text: string, symbols: readonly KernelSymbol[]): void {
  const { banner, release, vermagic } = vmlinux;
  if (vmlinux.config !== undefined) checkEmbedded('the kernel', vmlinux.config, text);
  const config = parseConfig(text);
  const differ = (why: string): KernelError => partsDiffer('config', 'the kernel', why);
  const compiler = config.get('CONFIG_CC_VERSION_TEXT') ?? '';
  if (!banner.includes(compiler))
    throw differ(`the config says that "${compiler}" compiled it, the kernel says ${quoted(banner)}`);
  const local = config.get('CONFIG_LOCALVERSION') ?? '';
  if (!release.includes(local)) throw differ(`the config has CONFIG_LOCALVERSION="${local}", the kernel is ${release}`);
  const flags = new Set(vermagic.split(' ').slice(1));
  for (const [option, flag] of FLAGS) {
    const isSet = config.get(option) === 'y';
    if (isSet === flags.has(flag)) continue;
    throw differ(`${option} is ${isSet ? 'set' : 'not set'} in the config, and the kernel's vermagic is "${vermagic}"`);
  }
  const names = new Set(symbols.map(({ name }) => name));
  for (const [option, symbol] of TRACES) {
    const isSet = config.get(option) === 'y';
    if (isSet === names.has(symbol)) continue;
    throw differ(
      `${option} is ${isSet ? 'set' : 'not set'} in the config, and the kernel has ${isSet ? 'no' : 'a'} ${symbol}`,
    );
  }
}

/** include/linux/vermagic.h: what each adds. */
const FLAGS: readonly (readonly [option: string, flag: string])[] = [
  ['CONFIG_SMP', 'SMP'],
  ['CONFIG_PREEMPT_RT', 'preempt_rt'],
  ['CONFIG_MODULE_UNLOAD', 'mod_unload'],
  ['CONFIG_MODVERSIONS', 'modversions'],
];

/** Options with something that is exported with them alone, in 6.1 as in 7.x. */
const TRACES: readonly (readonly [option: string, symbol: string])[] = [
  ['CONFIG_LIVEPATCH', 'klp_enable_patch'],
  ['CONFIG_BLOCK', 'submit_bio'],
  ['CONFIG_NET', 'sock_create_kern'],
  ['CONFIG_INET', 'inet_sendmsg'],
  ['CONFIG_NUMA', 'node_data'],
  ['CONFIG_AUDIT', 'audit_log_start'],
  ['CONFIG_PCI', 'pci_enable_device'],
  ['CONFIG_TTY', 'tty_register_driver'],
  ['CONFIG_SUSPEND', 'pm_suspend'],
  ['CONFIG_KPROBES', 'register_kprobe'],
  ['CONFIG_DEBUG_FS', 'debugfs_create_dir'],
];

/** The config that the kernel or its module `configs` carries, and the one that was handed over. */
export function checkEmbedded(holder: string, carried: string, text: string): void {
  const [there, here] = [parseConfig(carried), parseConfig(text)];
  const different = differentOptions(there, here);
  if (different.length === 0) return;
  const shown = different
    .slice(0, 4)
    .map((option) => `${option} is ${there.get(option) ?? 'not set'} there and ${here.get(option) ?? 'not set'} here`);
  throw partsDiffer('config', 'the kernel', `${holder} carries another: ${shown.join('; ')}`);
}

/** Options whose values differ. */
export function differentOptions(one: KernelConfig, other: KernelConfig): string[] {
  return [...new Set([...one.keys(), ...other.keys()])].filter((name) => one.get(name) !== other.get(name));
}

/** vmlinux and Module.symvers: names and CRCs of all that vmlinux exports. */
export function checkSymvers({ exports, release }: VmlinuxFacts, text: string): void {
  if (exports === undefined) return;
  const symvers = parseSymvers(text);
  const differ = (why: string): KernelError => partsDiffer('Module.symvers', 'the kernel', why);
  for (const [name, crc] of exports) {
    const listed = symvers.get(name);
    if (listed?.object !== 'vmlinux') throw differ(`${release} exports ${name}, which is not in the file`);
    if (Number(listed.crc) !== crc)
      throw differ(`${name} has the CRC ${listed.crc} in the file, and ${hex(crc)} in the kernel`);
  }
  if (exports.size === 0) throw differ('the kernel exports nothing');
  for (const name of namesOfVmlinux(text))
    if (!exports.has(name)) throw differ(`the file has ${name}, which ${release} does not export`);
}

/** vmlinux, Module.symvers and a module: its vermagic, and the CRCs of what it takes from others. */
export function checkModule(name: string, module: ModuleFacts, vmlinux: VmlinuxFacts, symvers: Exports): void {
  if (!module.hasSymbols) {
    throw new KernelError('module-unreadable', `the module ${name} has no symbol table: it is stripped`, {
      hint: 'install the modules again, with INSTALL_MOD_STRIP=1 at most, which leaves what the kernel needs',
    });
  }
  if (module.vermagic !== vmlinux.vermagic) {
    const why = `${name} is for "${module.vermagic ?? ''}", and the kernel is "${vmlinux.vermagic}"`;
    throw partsDiffer('modules', 'the kernel', why);
  }
  for (const [symbol, crc] of module.imports) {
    const own = vmlinux.exports?.get(symbol);
    if (own !== undefined && own !== crc) {
      const why = `${name} was built for a ${symbol} with the CRC ${hex(crc)}, and the kernel's has ${hex(own)}`;
      throw partsDiffer('modules', 'the kernel', why);
    }
    const listed = symvers.get(symbol);
    if (listed !== undefined && Number(listed.crc) === crc) continue;
    const why = `${name} was built for a ${symbol} with the CRC ${hex(crc)}, and the file has ${listed?.crc ?? 'none'}`;
    throw partsDiffer('Module.symvers', 'the modules', why);
  }
}

/** vmlinux and System.map. Debian installs one of a single line, which says where the real one is. */
export function checkSystemMap(text: string, symbols: readonly KernelSymbol[]): void {
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length < 2) return;
  const mapped = new Set<string>();
  for (const line of lines) {
    const [address = '', , name = ''] = line.split(' ');
    mapped.add(`${address.replace(/^0+(?=.)/, '')} ${name}`);
  }
  for (const { name, address } of symbols) {
    // Per-cpu variables are numbered from 0, and their addresses are made otherwise.
    if (address < 0xffff_0000_0000_0000n || mapped.has(`${address.toString(16)} ${name}`)) continue;
    const why = `the kernel has ${name} at ${address.toString(16)}, the file has not`;
    throw partsDiffer('System.map', 'the kernel', why);
  }
}

/** Source and the two others: the version in its Makefile, that of the release, and that in the head of the config. */
export function checkSource(
  makefile: string,
  vmlinux: Pick<VmlinuxFacts, 'release' | 'banner'>,
  config: string,
): string {
  const part = (name: string): string => new RegExp(`^${name} *= *(\\S*) *$`, 'm').exec(makefile)?.[1] ?? '';
  const numbers = [part('VERSION'), part('PATCHLEVEL'), part('SUBLEVEL')];
  if (numbers.some((number) => !/^\d+$/.test(number))) {
    throw new KernelError('kernel-incomplete', 'the folder of the source has no Makefile of a Linux kernel', {
      hint: 'name the top folder of the source tree that the kernel was built from with --source',
    });
  }
  const version = `${numbers.join('.')}${part('EXTRAVERSION')}`;
  const stated = /^# Linux\/\S+ (\S+) Kernel Configuration$/m.exec(config)?.[1];
  if (stated !== undefined && stated !== version)
    throw partsDiffer('source', 'the config', `the source is of ${version}, and the config of ${stated}`);
  const { release, banner } = vmlinux;
  // A packager may name a release as she likes; then the version of the source is in the rest of the banner.
  const isNamed = release === version || new RegExp(`^${RegExp.escape(version)}(?![0-9.])`).test(release);
  if (isNamed || new RegExp(`[ -]${RegExp.escape(version)}(?![0-9.])`).test(banner)) return version;
  throw partsDiffer('source', 'the kernel', `the source is of ${version}, and the kernel is ${release}`);
}

/** Two parts that are not of one build. */
export function partsDiffer(part: string, other: string, why: string): KernelError {
  return new KernelError('kernel-parts-differ', `${part} and ${other} do not belong together: ${why}`, {
    hint: 'hand over vmlinuz, modules, config, Module.symvers and source of one and the same build',
    details: { part, other },
  });
}

function hex(crc: number): string {
  return `0x${crc.toString(16).padStart(8, '0')}`;
}

function quoted(banner: string): string {
  return JSON.stringify(/\(((?:\S*gcc|clang)\S* [^#]*)\)/.exec(banner)?.[1] ?? banner.slice(0, 120));
}
