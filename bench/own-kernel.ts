/**
 * `script/bench own-kernel [--only PATTERN]`: a kernel of one's own, from the packages of `make bindeb-pkg` to a
 * livepatch for it, with what each step takes; then everything that can be wrong with what an operator hands over, each
 * refused by its code with nothing left behind. The kernel is built once, in a quarter of an hour. `--only works`: the
 * first part alone; `--only config`: the cases of that name.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { places, run, runOk } from '@kmend/base/node';
import { KERNEL, KMEND, type KmendResult, openWorkshop } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';
import { diskUse, seconds } from './lib/measure.ts';
import { type OwnKernel, ownKernel, RELEASE } from './lib/own-kernel.ts';

const { signal } = new AbortController();
const { cache } = places();
const scratch = await mkdtemp(join(tmpdir(), 'kmend-own-'));
const own = join(scratch, 'cache');
const failures: string[] = [];
const only = new RegExp(
  process.argv.includes('--only') ? (process.argv.at(process.argv.indexOf('--only') + 1) ?? '') : '',
);

async function kmend(...args: string[]): Promise<KmendResult> {
  const env = { ...process.env, KMEND_CACHE: own, KMEND_HOME: join(scratch, 'home') } as Record<string, string>;
  const { exitCode, stdout, stderr } = await run(KMEND, [...args, '--json'], { env, timeoutMs: 1_800_000 });
  return { exitCode, json: JSON.parse(stdout.toString('utf8') || 'null') as unknown, stderr };
}

function check(isMet: boolean, what: string): void {
  if (!isMet) failures.push(what);
}

try {
  await mkdir(own);
  for (const shared of ['packages', 'sources', 'node', 'roots']) await symlink(join(cache, shared), join(own, shared));
  const kernel = await ownKernel(signal);
  if (only.test('works')) await works(kernel);
  await rejects(kernel);
} finally {
  await rm(scratch, { recursive: true, force: true });
}
for (const failure of failures) console.log(`NOT MET  ${failure}`);
if (failures.length > 0) process.exitCode = 1;

/** From packages to a livepatch of vmlinux and a module. */
async function works({ image, headers, source }: OwnKernel): Promise<void> {
  const add = async (): Promise<void> => {
    const { exitCode, stderr } = await kmend('kernel', 'add', '--local', image, headers, '--source', source);
    check(exitCode === 0, `kernel add ends with ${exitCode}: ${stderr}`);
  };
  console.log(`kernel add --local, with its checks, tree and sample proof: ${(await seconds(add)).toFixed(1)} s`);
  const workshop = openWorkshop(signal, undefined, { cache: own });
  const kernel = await workshop.kernels.open(RELEASE);
  const tree = (await workshop.builder(kernel)).sourceTree;
  const patch = join(scratch, 'both.patch');
  const edits = [
    ['fs/attr.c', /\nint setattr_prepare\([^{]*\n\{\n/, '\tif (attr->ia_size == 4711)\n\t\treturn -EINVAL;\n'],
    ['fs/fat/file.c', /\nint fat_setattr\([^{]*\n\{\n/, '\tif (attr->ia_size == 4712)\n\t\treturn -EINVAL;\n'],
  ] as const;
  await writeFile(
    patch,
    (await Promise.all(edits.map(([path, before, added]) => patchOf(tree, path, before, added)))).join(''),
  );
  const out = join(scratch, 'out');
  let built: KmendResult | undefined;
  const build = async (): Promise<void> => {
    built = await kmend('build', '--kernel', RELEASE, '--patch', patch, '--out', out);
  };
  console.log(
    `the first livepatch: ${(await seconds(build)).toFixed(1)} s; again: ${(await seconds(build)).toFixed(1)} s`,
  );
  const manifest = built?.json as Livepatch;
  check(built?.exitCode === 0, `build ends with ${built?.exitCode}: ${built?.stderr}`);
  const { equal, compared } = manifest.byteProof;
  const functions = manifest.objects.flatMap(({ name, functions: all }) => all.map((one) => `${name}:${one.name}`));
  console.log(
    `${manifest.verdict}: ${functions.join(', ')}; byte proof ${equal} of ${compared}; ${manifest.file?.size} bytes`,
  );
  check(equal === compared && compared > 10, `byte proof: ${equal} of ${compared}`);
  check(functions.sort().join() === 'fat:fat_setattr,vmlinux:setattr_prepare', `replaced: ${functions.join()}`);
  const audit = await kmend('audit', out);
  check(audit.exitCode === 0, `audit ends with ${audit.exitCode}: ${audit.stderr}`);
  const directory = (await workshop.treeDirectory(kernel)) ?? '';
  const [stored, prepared] = await Promise.all([diskUse(kernel.paths.directory), diskUse(directory)]);
  console.log(`on the disk: the kernel ${stored} MB, its tree ${prepared} MB`);
  // Nothing of it is left for the cases that follow.
  for (const path of [kernel.paths.directory, directory]) await rm(path, { recursive: true, force: true });
}

async function patchOf(tree: string, path: string, before: RegExp, added: string): Promise<string> {
  const text = await readFile(join(tree, path), 'utf8');
  const edited = join(scratch, 'edited.c');
  await writeFile(
    `${edited}.${path.length}`,
    text.replace(before, (start) => `${start}${added}`),
  );
  const args = ['-u', '--label', `a/${path}`, '--label', `b/${path}`, join(tree, path), `${edited}.${path.length}`];
  return (await run('diff', args)).stdout.toString('utf8');
}

/** What is handed over, as one folder, and what of it a case changes. */
interface Parts {
  readonly directory: string;
  /** Further arguments. */
  readonly more: string[];
  source(): string;
  useSource(path: string): void;
  /** Path of a part. */
  part(name: 'vmlinuz' | 'config' | 'Module.symvers' | 'System.map' | 'modules'): string;
  edit(name: 'config' | 'Module.symvers' | 'System.map', edit: (text: string) => string): Promise<void>;
}

type Case = readonly [name: string, code: string, change: (parts: Parts) => Promise<void>];

async function rejects(kernel: OwnKernel): Promise<void> {
  const sound = join(scratch, 'sound');
  await unpack(kernel, sound);
  const debian = await openWorkshop(signal).kernels.open(KERNEL);
  const source = join(scratch, 'source');
  const copySource = async (parts: Parts, path: string, edit: (text: string) => string): Promise<void> => {
    // Links where it lies on the same disk: 80,000 files.
    const linked = await run('cp', ['-al', kernel.source, source]);
    if (linked.exitCode !== 0) await runOk(run, 'cp', ['-a', '-T', kernel.source, source]);
    const text = await readFile(join(source, path), 'utf8');
    await rm(join(source, path));
    await writeFile(join(source, path), edit(text));
    parts.useSource(source);
  };
  const roots = join(cache, 'roots');
  const trixie = (await readdir(roots).catch(() => [])).find((name) => name.startsWith('trixie-gcc-14'));
  const cases: Case[] = [
    ['vmlinuz of another kernel', 'kernel-parts-differ', (p) => cp(debian.paths.vmlinuz, p.part('vmlinuz'))],
    ['vmlinux of another kernel', 'kernel-parts-differ', (p) => cp(debian.paths.vmlinux, join(p.directory, 'vmlinux'))],
    ['config of another kernel', 'kernel-parts-differ', (p) => cp(debian.paths.config, p.part('config'))],
    [
      'config with one option changed, which the module configs shows',
      'kernel-parts-differ',
      (p) => p.edit('config', (text) => text.replace(/^CONFIG_NR_CPUS=\d+$/m, 'CONFIG_NR_CPUS=48')),
    ],
    [
      'config with one option changed, which only bytes show',
      'kernel-not-proven',
      async (p) => {
        const configs = join(p.part('modules'), 'kernel/kernel/configs.ko');
        const bytes = await readFile(configs);
        bytes.write('NONE', bytes.indexOf('IKCFG_ST'), 'latin1');
        await writeFile(configs, bytes);
        await p.edit('config', (text) => text.replace(/^CONFIG_NR_CPUS=\d+$/m, 'CONFIG_NR_CPUS=48'));
      },
    ],
    [
      'Module.symvers of another kernel',
      'kernel-parts-differ',
      (p) => cp(debian.paths.moduleSymvers, p.part('Module.symvers')),
    ],
    [
      'Module.symvers with one CRC changed',
      'kernel-parts-differ',
      (p) => p.edit('Module.symvers', (text) => text.replace(/^0x[0-9a-f]{8}\tkfree\t/m, '0x00000001\tkfree\t')),
    ],
    [
      'System.map of another build',
      'kernel-parts-differ',
      (p) => p.edit('System.map', (text) => text.replace(/^[0-9a-f]{16} T vfs_read$/m, 'ffffffff81000004 T vfs_read')),
    ],
    [
      'modules of another kernel',
      'kernel-parts-differ',
      async (p) => {
        await rm(p.part('modules'), { recursive: true });
        const files = ['modules.order', 'kernel/fs/ext4/ext4.ko'];
        for (const file of files) await cp(join(debian.paths.modules, file), join(p.part('modules'), file));
        await writeFile(join(p.part('modules'), 'modules.order'), 'kernel/fs/ext4/ext4.ko\n');
      },
    ],
    [
      'a module missing',
      'kernel-parts-differ',
      (p) => writeFile(join(p.part('modules'), 'modules.order'), 'kernel/fs/fat/fat.ko\n'),
    ],
    [
      'source of another version',
      'kernel-parts-differ',
      (p) => copySource(p, 'Makefile', (text) => text.replace(/^SUBLEVEL = .*$/m, 'SUBLEVEL = 176')),
    ],
    [
      'source with a change that only bytes show',
      'kernel-not-proven',
      (p) => copySource(p, 'kernel/fork.c', (text) => text.replace('#define MIN_THREADS 20', '#define MIN_THREADS 21')),
    ],
    ['source that is none', 'kernel-incomplete', async (p) => p.useSource(join(p.directory, 'modules'))],
    ['no config', 'kernel-incomplete', (p) => rm(p.part('config'))],
    ['no modules', 'kernel-incomplete', (p) => rm(p.part('modules'), { recursive: true })],
    ['no image', 'kernel-incomplete', (p) => rm(p.part('vmlinuz'))],
    ['two images', 'kernel-ambiguous', (p) => cp(p.part('vmlinuz'), join(p.directory, 'vmlinuz-2'))],
    [
      'a root without a compiler',
      'compiler-missing',
      async (p) => {
        const root = join(scratch, 'empty-root');
        await mkdir(join(root, 'usr/bin'), { recursive: true });
        for (const name of ['bin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(root, name)).catch(() => {});
        for (const name of ['lib', 'lib64'])
          await cp(
            `/usr/${name}/${name === 'lib64' ? 'ld-linux-x86-64.so.2' : 'os-release'}`,
            join(root, 'usr', name, 'x'),
            { dereference: true },
          );
        await writeFile(join(root, 'usr/bin/x'), '');
        p.more.push('--build-root', root);
      },
    ],
    ...(trixie === undefined
      ? []
      : [
          [
            'a root with another compiler',
            'compiler-differs',
            async (p: Parts) => void p.more.push('--build-root', join(roots, trixie, 'system')),
          ] as const,
        ]),
    [
      'a root that is not there',
      'root-missing',
      async (p) => void p.more.push('--build-root', join(scratch, 'nowhere')),
    ],
    [
      'a stripped module',
      'module-unreadable',
      async (p) => void (await runOk(run, 'strip', ['--strip-all', join(p.part('modules'), 'kernel/fs/fat/fat.ko')])),
    ],
    [
      'no CONFIG_LIVEPATCH',
      'kernel-without-livepatch',
      (p) => p.edit('config', (text) => text.replace('CONFIG_LIVEPATCH=y', '# CONFIG_LIVEPATCH is not set')),
    ],
    ['a config of arm64', 'kernel-architecture', (p) => p.edit('config', (text) => `${text}CONFIG_ARM64=y\n`)],
    [
      'no BTF',
      'btf-missing',
      async (p) => {
        const args = ['--rename-section', '.BTF=.none', join(kernel.source, 'vmlinux'), join(p.directory, 'vmlinux')];
        await runOk(run, 'objcopy', args);
        await rm(p.part('vmlinuz'));
      },
    ],
    [
      'an image compressed in an unknown way',
      'image-unsupported',
      async (p) => {
        const image = await readFile(p.part('vmlinuz'));
        image[((image[0x1f1] ?? 4) + 1) * 512 + image.readUInt32LE(0x248)] = 0x42;
        await writeFile(p.part('vmlinuz'), image);
      },
    ],
    [
      'a damaged image',
      'image-unsupported',
      async (p) => {
        const image = await readFile(p.part('vmlinuz'));
        image.fill(0, image.length >> 1, (image.length >> 1) + 4096);
        await writeFile(p.part('vmlinuz'), image);
      },
    ],
  ];
  const before = await left();
  for (const [name, code, change] of cases.filter(([one]) => only.test(one))) {
    const directory = join(scratch, 'parts');
    await cp(sound, directory, { recursive: true });
    const parts = partsIn(directory, kernel.source);
    await change(parts);
    let result: KmendResult | undefined;
    const took = await seconds(async () => {
      result = await kmend('kernel', 'add', '--local', directory, '--source', parts.source(), ...parts.more);
    });
    const { error } = (result?.json ?? {}) as { error?: { code: string; message: string; hint?: string } };
    console.log(`${took.toFixed(1).padStart(6)} s  ${name}: [${error?.code}] ${error?.message.split('\n')[0]}`);
    check(result?.exitCode === 1 && error?.code === code, `${name}: ${code} wanted, ${error?.code} found`);
    check(error?.hint !== undefined, `${name}: no hint`);
    check((await left()) === before, `${name}: leaves ${await left()}`);
    for (const path of [directory, source]) await rm(path, { recursive: true, force: true });
  }
}

function partsIn(directory: string, source: string): Parts {
  const part = (name: string): string => join(directory, name);
  let used = source;
  return {
    directory,
    source: () => used,
    useSource: (path) => {
      used = path;
    },
    more: [],
    part,
    edit: async (name, edit) => await writeFile(part(name), edit(await readFile(part(name), 'utf8'))),
  };
}

/** The parts of the packages in one folder, under plain names. */
async function unpack({ image, headers }: OwnKernel, into: string): Promise<void> {
  const at = join(scratch, 'packages');
  for (const deb of [image, headers]) await runOk(run, 'dpkg-deb', ['-x', deb, at]);
  const modules = join(at, 'lib/modules', RELEASE);
  for (const link of ['build', 'source']) await rm(join(modules, link), { force: true });
  await mkdir(into);
  await cp(modules, join(into, 'modules'), { recursive: true });
  for (const name of ['vmlinuz', 'config', 'System.map'])
    await cp(join(at, 'boot', `${name}-${RELEASE}`), join(into, name));
  await cp(join(at, 'usr/src', `linux-headers-${RELEASE}`, 'Module.symvers'), join(into, 'Module.symvers'));
}

/** Names of all that lies in the store and beside it, but for locks. */
async function left(): Promise<string> {
  const names: string[] = [];
  for (const folder of ['kernels', 'trees'])
    for (const name of await readdir(join(own, folder)).catch(() => [])) names.push(`${folder}/${name}`);
  return names.sort().join(' ');
}
