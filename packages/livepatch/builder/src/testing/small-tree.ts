import { join } from 'node:path';
import type { Kernel } from '@kmend/kernel';
import { MACHINE } from '@kmend/toolchain';
import type { PreparedTree } from '../tree/tree.ts';

/** The prepared tree of a kernel of which there is nothing but what a test writes into the folder of its source. */
export function smallTree(directory: string, source = directory): PreparedTree {
  const within = (name: string): string => join(directory, name);
  const kernel: Kernel = {
    release: '6.1.0-1-amd64',
    buildId: 'b'.repeat(40),
    version: '6.1.1-1',
    sourcePackage: 'linux-source-6.1',
    suite: 'bookworm',
    arch: 'x86_64',
    compiler: { text: 'gcc', command: 'gcc' },
    paths: {
      directory,
      vmlinuz: within('vmlinuz'),
      vmlinux: within('vmlinux'),
      modules: within('modules'),
      config: within('config'),
      moduleSymvers: within('Module.symvers'),
      sourceTarball: within('source.tar.xz'),
    },
  };
  return { kernel, directory, source, root: MACHINE, shortPaths: false };
}
