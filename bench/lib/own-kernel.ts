/** A kernel of one's own, really built: from Debian's source, with a small configuration and another local version. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, places, run, runOk, sha256 } from '@kmend/base/node';
import { openWorkshop } from '@kmend/harness';
import { seconds } from './measure.ts';

const SUITE = 'bookworm';
export const SOURCE_VERSION = '6.1.170-3';
export const RELEASE = '6.1.170-own';
const CONFIG = fileURLToPath(new URL('own-kernel.config', import.meta.url));
const LIMIT_MS = 2 * 3600_000;

export interface OwnKernel {
  /** What `make bindeb-pkg` wrote. */
  readonly image: string;
  readonly headers: string;
  /** The tree that it was built in. */
  readonly source: string;
}

/** The kernel; built once, some 15 minutes on two cores, and kept beside kmend's cache. */
export async function ownKernel(signal: AbortSignal): Promise<OwnKernel> {
  const { cache } = places();
  const compiler = (await runOk(run, 'gcc', ['--version'])).toString('utf8').split('\n', 1)[0] ?? '';
  const key = sha256([SOURCE_VERSION, compiler, await readFile(CONFIG, 'utf8')].join('\0')).slice(0, 8);
  const directory = join(dirname(cache), 'kmend-bench', `own-kernel-${key}`);
  if (!(await exists(join(directory, 'built')))) {
    await rm(directory, { recursive: true, force: true });
    const temporary = `${directory}.tmp`;
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    console.log('building a kernel of one’s own; this takes a quarter of an hour, once');
    const took = await seconds(() => build(temporary, signal));
    await writeFile(join(temporary, 'built'), `${Math.round(took)} s\n`);
    await rename(temporary, directory);
    console.log(`built in ${Math.round(took)} s`);
  }
  const named = async (part: string): Promise<string> => {
    const pattern = new RegExp(`^linux-${part}-${RELEASE}_.*\\.deb$`);
    const name = (await readdir(directory)).find((one) => pattern.test(one));
    if (name === undefined) throw new Error(`make bindeb-pkg wrote no linux-${part} into ${directory}`);
    return join(directory, name);
  };
  return { image: await named('image'), headers: await named('headers'), source: join(directory, 'source') };
}

async function build(directory: string, signal: AbortSignal): Promise<void> {
  const tarball = await openWorkshop(signal).sources.tarball(SUITE, SOURCE_VERSION);
  const source = join(directory, 'source');
  await mkdir(source);
  const options = { signal, timeoutMs: LIMIT_MS };
  await runOk(run, 'tar', ['--zstd', '-xf', tarball, '-C', source, '--strip-components=1'], options);
  await runOk(run, 'make', ['-s', '-C', source, `KCONFIG_ALLCONFIG=${CONFIG}`, 'allnoconfig'], options);
  await runOk(run, 'nice', ['-n', '10', 'make', '-s', '-j2', '-C', source, 'bindeb-pkg'], options);
}
