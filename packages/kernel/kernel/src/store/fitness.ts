import type { KernelConfig } from '../config.ts';
import { KernelError } from '../error.ts';
import type { KernelCompiler } from '../kernel.ts';

/** What Kconfig calls the architectures that Debian has kernels of, beside x86-64 (arch/Kconfig files). */
const OTHERS: readonly (readonly [option: string, name: string])[] = [
  ['CONFIG_ARM64', 'arm64'],
  ['CONFIG_ARM', 'arm'],
  ['CONFIG_X86_32', 'i386'],
  ['CONFIG_PPC', 'powerpc'],
  ['CONFIG_S390', 's390x'],
  ['CONFIG_RISCV', 'riscv'],
  ['CONFIG_MIPS', 'mips'],
  ['CONFIG_LOONGARCH', 'loongarch'],
];

/** Debian's flavours of other architectures (debian/config of its kernel package): end of a release to architecture. */
const FLAVOURS: readonly (readonly [end: RegExp, architecture: string])[] = [
  [/arm64(?:-16k|-64k)?$/, 'arm64'],
  [/-(?:armmp(?:-lpae)?|rpi|marvell)$/, 'arm'],
  [/-(?:686(?:-pae)?|586)$/, 'i386'],
  [/-powerpc\w*(?:-64k)?$/, 'powerpc'],
  [/-s390x$/, 's390x'],
  [/riscv64$/, 'riscv'],
  [/-(?:[45]kc-malta|loongson-3|octeon|mips\w+)$/, 'mips'],
  [/-loong64$/, 'loongarch'],
];

/**
 * The compiler of a kernel that livepatches can be built for. `kernel-architecture`, `kernel-without-livepatch` and
 * `kernel-compiler` for others.
 */
export function fitCompiler(config: KernelConfig, release: string): KernelCompiler {
  const other = OTHERS.find(([option]) => config.get(option) === 'y');
  if (other !== undefined) throw otherArchitecture(release, other[1]);
  if (config.get('CONFIG_LIVEPATCH') !== 'y') {
    throw new KernelError('kernel-without-livepatch', `${release} was built without CONFIG_LIVEPATCH`, {
      hint: 'livepatches cannot be loaded into this kernel; its hosts need another one',
    });
  }
  const text = config.get('CONFIG_CC_VERSION_TEXT') ?? '';
  const command = text.split(' ')[0] ?? '';
  if (/^(?:x86_64-linux-gnu-)?gcc(?:-\d+)?$/.test(command)) return { text, command };
  throw new KernelError('kernel-compiler', `${release} was built with "${text}", not with a gcc that kmend knows`, {
    hint: 'kmend compiles with gcc alone: build the kernel with gcc',
  });
}

/** Throws `kernel-architecture` for a release whose flavour Debian has for another architecture than amd64. */
export function refuseOtherFlavours(release: string): void {
  const other = FLAVOURS.find(([end]) => end.test(release));
  if (other !== undefined) throw otherArchitecture(release, other[1]);
}

function otherArchitecture(release: string, architecture: string): KernelError {
  const why =
    architecture === 'arm64'
      ? "Debian's arm64 kernels have no CONFIG_LIVEPATCH, so that no livepatch can be loaded into them"
      : 'kmend builds livepatches for amd64 kernels only';
  return new KernelError('kernel-architecture', `${release} is a kernel for ${architecture}: ${why}`, {
    hint: 'update the hosts that run it by their distribution’s packages',
  });
}
