/** One exact kernel build in the store. All paths are absolute and read-only for users of the store. */
export interface Kernel {
  /** `uname -r`, e.g. `6.1.0-47-amd64`. */
  readonly release: string;
  /** GNU build id of vmlinux, 40 lower-case hex digits; a host shows the same in `/sys/kernel/notes`. */
  readonly buildId: string;
  /** Version of the Debian source package, e.g. `6.1.170-3`; of a kernel of one's own, of its source: `6.1.170`. */
  readonly version: string;
  /** Name of the Debian source-code package of that version, e.g. `linux-source-6.1`; one's own kernel has none. */
  readonly sourcePackage?: string;
  /** Debian suite it came from, e.g. `bookworm`; `local` for a kernel of one's own. */
  readonly suite: string;
  /** Until when the archive's index was valid, where it was out of date and the operator accepted it. */
  readonly indexExpired?: string;
  /** Present for a kernel of one's own. */
  readonly local?: LocalOrigin;
  readonly arch: 'x86_64';
  readonly compiler: KernelCompiler;
  readonly paths: KernelPaths;
}

/** What is known of a kernel that its operator handed over. */
export interface LocalOrigin {
  /** Folder of the system that has its compiler; absent: this machine's. */
  readonly buildRoot?: string;
}

export interface KernelCompiler {
  /** `CONFIG_CC_VERSION_TEXT`, e.g. `gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0`. */
  readonly text: string;
  /** The command Debian built with, e.g. `gcc-12`. */
  readonly command: string;
}

export interface KernelPaths {
  /** The kernel's own folder in the store. */
  readonly directory: string;
  readonly vmlinuz: string;
  /** ELF extracted from vmlinuz (stripped). */
  readonly vmlinux: string;
  /** `lib/modules/<release>` of the image package. */
  readonly modules: string;
  /** `.config`; Debian's is that of the headers package (/boot/config lacks entries). */
  readonly config: string;
  readonly moduleSymvers: string;
  /** The source at exactly `version`, in one folder: `linux-source-X.tar.xz`, or what was made of one's own tree. */
  readonly sourceTarball: string;
}

/**
 * A kernel's code without what livepatches are built with (headers, source): enough to compare with. Every `Kernel` is
 * one; the lighter form is fetched by `kmend kernel add --image-only`.
 */
export interface KernelImage extends Pick<Kernel, 'release' | 'buildId' | 'version' | 'suite'> {
  readonly paths: Pick<KernelPaths, 'directory' | 'vmlinux' | 'modules'>;
}

/** One symbol of an object as kallsyms knows it, in kallsyms order (the order `sympos` counts in). */
export interface KernelSymbol {
  readonly name: string;
  readonly address: bigint;
  /** nm-style type letter: `t`/`T` code, `d`/`D` data, `b`/`B` bss, `r`/`R` read-only, ... */
  readonly type: string;
}
