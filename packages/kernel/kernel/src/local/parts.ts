import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { KernelError } from '../error.ts';

/** The files of a kernel of one's own, by absolute path. */
export interface LocalParts {
  /** At least one of both is there. */
  readonly vmlinuz?: string;
  readonly vmlinux?: string;
  /** What `make modules_install` made: the folder with `modules.order`. */
  readonly modules: string;
  readonly config: string;
  readonly moduleSymvers: string;
  readonly systemMap?: string;
}

interface Place {
  /** Names that the file may have. */
  readonly names: readonly RegExp[];
  /** What people call it, and how they get it. */
  readonly what: string;
}

/** Where people and packages put things: in the folder itself, as installed, or as Debian's packages have them. */
const FOLDERS = ['.', 'boot', 'arch/x86/boot', 'usr/lib/linux-image-*', 'lib/modules/*', 'usr/lib/modules/*'] as const;
const HEADERS = ['usr/src/linux-headers-*', 'lib/modules/*/build', 'usr/lib/modules/*/build'] as const;
const DEBUG = ['usr/lib/debug/boot', 'usr/lib/debug/lib/modules/*', 'usr/lib/debug'] as const;
const MODULES = ['modules', 'modules/*', 'lib/modules/*', 'usr/lib/modules/*', 'modules/lib/modules/*'] as const;

const PLACES = {
  vmlinuz: { names: [/^vmlinuz(?:-.+)?$/, /^bzImage$/], what: 'vmlinuz (arch/x86/boot/bzImage)' },
  vmlinux: { names: [/^vmlinux(?:-.+)?$/], what: 'vmlinux' },
  config: { names: [/^\.?config(?:-.+)?$/], what: 'config (.config)' },
  moduleSymvers: { names: [/^Module\.symvers$/, /^symvers-.+$/], what: 'Module.symvers' },
  systemMap: { names: [/^System\.map(?:-.+)?$/], what: 'System.map' },
} as const satisfies Record<string, Place>;

/**
 * Finds the parts of a kernel in folders. `kernel-incomplete` names what is missing, `kernel-ambiguous` where a folder
 * holds two of one kind.
 */
export async function findParts(folders: readonly string[]): Promise<LocalParts> {
  const usual = await expanded(folders, FOLDERS);
  const headers = await expanded(folders, HEADERS);
  const config = await findFile([...headers, ...usual], PLACES.config);
  const moduleSymvers = await findFile([...headers, ...usual], PLACES.moduleSymvers);
  const vmlinuz = await findFile(usual, PLACES.vmlinuz);
  const vmlinux = await findFile([...usual, ...(await expanded(folders, DEBUG))], PLACES.vmlinux);
  const systemMap = await findFile(usual, PLACES.systemMap);
  const modules = await findModules(await expanded(folders, MODULES));
  const missing = [
    ...(vmlinuz === undefined && vmlinux === undefined ? ['vmlinuz or vmlinux'] : []),
    ...(config === undefined ? ['config'] : []),
    ...(moduleSymvers === undefined ? ['Module.symvers'] : []),
    ...(modules === undefined ? ['modules (a folder with modules.order)'] : []),
  ];
  if (missing.length > 0 || config === undefined || moduleSymvers === undefined || modules === undefined) {
    throw new KernelError('kernel-incomplete', `the kernel lacks ${missing.join(', ')}`, {
      hint: `looked in ${folders.join(', ')}: copy them there from the build tree (arch/x86/boot/bzImage, .config, Module.symvers), and install the modules with make modules_install INSTALL_MOD_PATH=DIR; or name both packages of make bindeb-pkg, linux-image and linux-headers`,
    });
  }
  return {
    ...(vmlinuz === undefined ? {} : { vmlinuz }),
    ...(vmlinux === undefined ? {} : { vmlinux }),
    modules,
    config,
    moduleSymvers,
    ...(systemMap === undefined ? {} : { systemMap }),
  };
}

/** All folders that the patterns name; `*` stands for one name, and is at most once in each part of a path. */
async function expanded(folders: readonly string[], patterns: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders)
    for (const pattern of patterns) {
      let paths = [folder];
      for (const part of pattern.split('/')) {
        const next: string[] = [];
        for (const path of paths) next.push(...(await within(path, part)));
        paths = next;
      }
      found.push(...paths);
    }
  return found;
}

async function within(folder: string, part: string): Promise<string[]> {
  if (!part.includes('*')) return [join(folder, part)];
  const pattern = new RegExp(`^${part.replace('*', '[^/]+')}$`);
  return (await namesOf(folder)).filter((name) => pattern.test(name)).map((name) => join(folder, name));
}

async function findFile(folders: readonly string[], { names, what }: Place): Promise<string | undefined> {
  for (const folder of folders) {
    const found: string[] = [];
    for (const name of await namesOf(folder))
      if (names.some((pattern) => pattern.test(name)) && (await isFile(join(folder, name)))) found.push(name);
    const [first, second] = found;
    if (second !== undefined) {
      throw new KernelError('kernel-ambiguous', `${folder} has several files for ${what}: ${found.sort().join(', ')}`, {
        hint: 'leave only those of one kernel in the folder',
      });
    }
    if (first !== undefined) return join(folder, first);
  }
  return undefined;
}

async function findModules(folders: readonly string[]): Promise<string | undefined> {
  const found = new Set<string>();
  // With a merged /usr one folder has two names.
  for (const folder of folders) if (await isFile(join(folder, 'modules.order'))) found.add(await realpath(folder));
  const [first, second] = found;
  if (second === undefined) return first;
  throw new KernelError(
    'kernel-ambiguous',
    `the modules of several kernels are there: ${[...found].map((one) => basename(one)).join(', ')}`,
    {
      hint: 'leave only those of one kernel in the folder',
    },
  );
}

async function namesOf(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (it) => it.isFile(),
    () => false,
  );
}
