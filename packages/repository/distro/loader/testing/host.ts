import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { sha256 } from '@kmend/base/node';
import { kernelNotes } from '@kmend/rules/testing';
import { statementText } from '../../src/manifest.ts';
import { fakePrograms } from './fakes.ts';
import { TestKey } from './key.ts';

const here = join(import.meta.dirname, '..');
/** Most of a run is waiting for a disk; in memory it is not. */
const directory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
export const RELEASE = '6.1.0-47-amd64';
export const BUILD_ID = 'ab'.repeat(20);
/** What a host may have as /bin/sh: Debian's, and one that runs programs of its own in place of the host's. */
export const shells: Readonly<Record<string, readonly string[]>> = {
  dash: ['/bin/dash'],
  busybox: ['/bin/busybox', 'sh'],
};
/** And that of RPM distributions, which does nothing else than these. */
export const allShells: typeof shells = { ...shells, bash: ['/bin/bash', '--posix'] };

export interface PackageOptions {
  readonly name: string;
  readonly version: string;
  readonly position: number;
  readonly kind: 'stacked' | 'cumulative';
  readonly on: readonly string[];
  readonly fixes: readonly (readonly [id: string, title: string])[];
  readonly functions: readonly string[];
  readonly release: string;
  readonly buildId: string;
  readonly key: TestKey;
}

export interface Installed {
  readonly name: string;
  readonly module: string;
  readonly directory: string;
}

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

let ownersKey: TestKey | undefined;

/** The owner's key, one for all tests of a process. */
export function owner(): TestKey {
  if (ownersKey === undefined) {
    const key = new TestKey('owner');
    ownersKey = key;
    process.on('exit', () => key.remove());
  }
  return ownersKey;
}

/** A host as the loader sees it: a directory with /proc, /sys, /usr, /var, and a kernel made of small programs. */
export class TestHost {
  readonly root = mkdtempSync(join(directory, 'kmend-livepatch-'));
  readonly #shell: readonly string[];
  readonly #mounted: string[] = [];

  constructor(context: TestContext, shell: readonly string[]) {
    this.#shell = shell;
    context.after(() => {
      for (const path of this.#mounted) execFileSync('umount', [path]);
      rmSync(this.root, { recursive: true, force: true });
    });
    for (const [name, text] of Object.entries(fakePrograms)) {
      this.write(`/fake/bin/${name}`, text);
      chmodSync(this.path(`/fake/bin/${name}`), 0o755);
    }
    this.write('/fake/log', '[    0.000001] Linux\n[    1.000000] livepatch: enabled\n');
    this.write('/usr/share/kmend-livepatch/packages.gpg', owner().publicKey);
    this.write('/etc/kmend-livepatch/config', '# of the test\nwait 6\n');
    this.kernel({ release: RELEASE, buildId: BUILD_ID });
    this.write('/proc/sys/kernel/tainted', '0\n');
    this.write('/proc/cmdline', 'root=/dev/vda ro\n');
    this.write('/proc/meminfo', 'MemTotal: 2000000 kB\nMemAvailable:    1500000 kB\n');
    mkdirSync(this.path('/var/lib'), { recursive: true });
    this.boot();
  }

  /** Another boot: nothing is in the kernel. */
  boot(): void {
    for (const path of ['/sys/kernel/livepatch', '/sys/module', '/run']) {
      rmSync(this.path(path), { recursive: true, force: true });
      mkdirSync(this.path(path), { recursive: true });
    }
    mkdirSync(this.path('/run/systemd/system'), { recursive: true });
    this.write('/proc/sys/kernel/random/boot_id', `${randomUUID()}\n`);
    this.write('/proc/uptime', '20.50 40.00\n');
  }

  /** Another kernel runs. */
  kernel({ release, buildId }: { readonly release: string; readonly buildId: string }): void {
    this.write('/sys/kernel/notes', kernelNotes(buildId));
    this.write('/proc/sys/kernel/osrelease', `${release}\n`);
  }

  path(path: string): string {
    return join(this.root, path);
  }

  write(path: string, data: string | Uint8Array): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), data);
  }

  read(path: string): string {
    return existsSync(this.path(path)) ? readFileSync(this.path(path), 'utf8') : '';
  }

  remove(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true });
  }

  /** A file system of its own, small enough to be full. */
  mount(path: string, size: string): void {
    mkdirSync(this.path(path), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', this.path(path)]);
    this.#mounted.push(this.path(path));
  }

  /** What the package manager leaves on disk. */
  install(options: Partial<PackageOptions> & { readonly position: number }): Installed {
    const { position } = options;
    const kind = options.kind ?? 'stacked';
    const suffix = kind === 'cumulative' ? 'cumulative' : `cve-2026-${1000 + position}`;
    const full: PackageOptions = {
      name: `livepatch-${RELEASE}-${suffix}`,
      version: `${position}.1`,
      kind,
      on: [],
      fixes: [[`CVE-2026-${1000 + position}`, `net: fix number ${position}`]],
      functions: [`vmlinux function_${position}`, 'ext4 shared'],
      release: RELEASE,
      buildId: BUILD_ID,
      key: owner(),
      ...options,
    };
    const id = sha256(`${full.name} ${full.version}`).slice(0, 12);
    const module = `kmend_${id}`;
    const ko = `${module} ${kind === 'cumulative' ? 'replace' : 'stacked'}\n`;
    const lines = [
      'kmend-livepatch 1',
      `package ${full.name}`,
      `version ${full.version}`,
      `release ${full.release}`,
      `build-id ${full.buildId}`,
      `kind ${kind}`,
      `position ${position}`,
      `id ${id}`,
      `module ${module}`,
      `sha256 ${sha256(ko)}`,
      `size ${ko.length}`,
      ...full.on.map((it) => `on ${it}`),
      ...full.fixes.map(([fix, title]) => `fix ${fix} ${title}`),
      ...full.functions.map((it) => `function ${it}`),
    ];
    const manifest = `${lines.join('\n')}\n`;
    const directory = `/usr/lib/kmend-livepatch/${full.release}/${full.name}`;
    this.remove(directory);
    this.write(`${directory}/livepatch.ko`, ko);
    this.write(`${directory}/manifest`, manifest);
    this.write(`${directory}/manifest.sig`, full.key.sign(manifest));
    return { name: full.name, module, directory };
  }

  /** What a kernel's package leaves that needs no livepatch yet; `change`: another text is signed. */
  installStatement(
    { release = RELEASE, buildId = BUILD_ID, key = owner() }: Partial<PackageOptions> = {},
    change: (statement: string) => string = (statement) => statement,
  ): string {
    const name = `livepatch-${release}`;
    const directory = `/usr/lib/kmend-livepatch/${release}/${name}`;
    const statement = change(statementText({ release, buildId }, { package: name, serial: 1 }));
    this.write(`${directory}/none`, statement);
    this.write(`${directory}/none.sig`, key.sign(statement));
    return directory;
  }

  /** A kernel on the disk, which a reboot may bring. */
  installKernel(release: string): void {
    this.write(`/boot/vmlinuz-${release}`, '');
    this.write(`/lib/modules/${release}/modules.builtin`, '');
  }

  /** A chain, each on the one before it. */
  installStack(depth: number, version: (position: number) => string = (position) => `${position}.1`): Installed[] {
    const stack: Installed[] = [];
    for (let position = 1; position <= depth; position++) {
      const below = stack.at(-1);
      stack.push(this.install({ position, version: version(position), on: below === undefined ? [] : [below.module] }));
    }
    return stack;
  }

  /** Signs another manifest for a package, whatever it holds. */
  forge(installed: Installed, change: (manifest: string) => string): void {
    const manifest = change(this.read(`${installed.directory}/manifest`));
    this.write(`${installed.directory}/manifest`, manifest);
    this.write(`${installed.directory}/manifest.sig`, owner().sign(manifest));
  }

  /** Runs the loader to its end. */
  run(...args: string[]): Promise<Ran> {
    return this.runIn({}, ...args);
  }

  runIn(environment: Record<string, string>, ...args: string[]): Promise<Ran> {
    const [file = '', ...before] = this.#shell;
    // A process group of its own: what a test kills is all of it.
    const child = spawn(file, [...before, join(here, 'bin/kmend-livepatch'), ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        KMEND_LIVEPATCH_ROOT: this.root,
        KMEND_LIVEPATCH_PATH: `${this.path('/fake/bin')}:/usr/bin:/bin`,
        KMEND_LIVEPATCH_PARTS: join(here, 'parts'),
        ...environment,
      },
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, out, err }));
    });
  }

  /** Enabled livepatches, whosever they are. */
  enabled(): string[] {
    return readdirSync(this.path('/sys/kernel/livepatch'))
      .filter((name) => this.read(`/sys/kernel/livepatch/${name}/enabled`).trim() === '1')
      .sort();
  }

  modules(): string[] {
    return readdirSync(this.path('/sys/module')).sort();
  }

  /** What was asked of the kernel since the last time: `insmod MODULE`, `rmmod MODULE`. */
  calls(): string[] {
    const calls = this.read('/fake/calls').split('\n').filter(Boolean);
    this.remove('/fake/calls');
    return calls;
  }

  /** The values of a key of the state. */
  state(key: string): string[] {
    const file = existsSync(this.path('/run/kmend-livepatch/state')) ? '/run' : '/var/lib';
    const lines = this.read(`${file}/kmend-livepatch/state`).split('\n');
    return lines.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1));
  }

  /** The code of the last run. */
  outcome(): string | undefined {
    return this.state('outcome')[0]?.split(' ')[1];
  }

  /** "CODE SUBJECT" of what the last run met. */
  problems(): string[] {
    return this.state('problem').map((line) => line.split(' ').slice(0, 2).join(' '));
  }

  /** A livepatch that something else loaded. */
  loadForeign(name: string): void {
    this.write(`/sys/kernel/livepatch/${name}/enabled`, '1\n');
    this.write(`/sys/kernel/livepatch/${name}/transition`, '0\n');
    this.write(`/sys/module/${name}/kind`, 'replace\n');
  }

  passes(seconds: number): void {
    const now = Number(this.read('/proc/uptime').split('.')[0]);
    this.write('/proc/uptime', `${now + seconds}.50 1.00\n`);
  }
}
