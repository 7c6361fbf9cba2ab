import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Simulator, serve } from './simulator.ts';

const COMMAND = fileURLToPath(new URL('../../../../../../bin/kmend-tuf-conformance', import.meta.url));
const CLOCK = new URL('./shift-clock.ts', import.meta.url).href;

/** The client under test, as the suite drives it: a command, run again each time. */
export interface Runner {
  readonly repository: Simulator;
  /** Exit codes. */
  init(root?: Buffer): Promise<number>;
  refresh(daysAhead?: number): Promise<number>;
  download(target: string, daysAhead?: number): Promise<number>;
  /** Several targets, in one run of the command. */
  downloadAll(targets: readonly string[]): Promise<number>;
  /** Roles that the client trusts, by file name, with their versions: `root 1`. */
  trusted(): Promise<string[]>;
  trustedBytes(role: string): Promise<Buffer>;
  /** Contents of all files in the target directory. */
  downloaded(): Promise<string[]>;
}

export async function makeRunner(
  t: { after(work: () => Promise<void>): void },
  repository: Simulator = new Simulator(),
): Promise<Runner> {
  const server = await serve(repository);
  t.after(() => server.close());
  const directory = await mkdtemp(join(tmpdir(), 'kmend-conformance-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const metadata = join(directory, 'metadata');
  const targets = join(directory, 'targets');
  await mkdir(metadata);
  await mkdir(targets);
  const wanted = (names: readonly string[]): string[] => [
    ...names.flatMap((name) => ['--target-name', name]),
    ...['--target-dir', targets, '--target-base-url', `${server.url}/targets/`],
  ];
  const place = ['--metadata-url', `${server.url}/metadata/`, '--metadata-dir', metadata];
  return {
    repository,
    async init(root = repository.signed.get('root')?.[0] ?? Buffer.alloc(0)) {
      const path = join(directory, 'initial_root.json');
      await writeFile(path, root);
      return runCommand(['--metadata-dir', metadata, 'init', path]);
    },
    refresh: (daysAhead) => runCommand([...place, 'refresh'], daysAhead),
    download: (target, daysAhead) => runCommand([...place, ...wanted([target]), 'download'], daysAhead),
    downloadAll: (names) => runCommand([...place, ...wanted(names), 'download']),
    async trusted() {
      const names = (await readdir(metadata)).filter((name) => name.endsWith('.json')).sort();
      const versions = names.map(
        async (name) => JSON.parse(await readFile(join(metadata, name), 'utf8')).signed.version,
      );
      return (await Promise.all(versions)).map((version, n) => `${names[n]?.replace(/\.json$/, '')} ${version}`);
    },
    trustedBytes: (role) => readFile(join(metadata, `${role}.json`)),
    async downloaded() {
      const files = await readdir(targets, { recursive: true, withFileTypes: true });
      const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
      return (await Promise.all(paths.map((path) => readFile(path, 'utf8')))).sort();
    },
  };
}

function runCommand(args: readonly string[], daysAhead = 0): Promise<number> {
  const shift = { NODE_OPTIONS: `--import=${CLOCK}`, KMEND_SHIFT_CLOCK_DAYS: String(daysAhead) };
  const child = spawn(COMMAND, args, { stdio: 'ignore', env: { ...process.env, ...(daysAhead === 0 ? {} : shift) } });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? -1));
  });
}
