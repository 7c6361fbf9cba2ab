import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Edges } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { KernelError } from '../error.ts';

const STEP_LIMIT_MS = 15 * 60_000;
/** Where Debian keeps the patches of PREEMPT_RT, in order (debian/rules.real of its package linux). */
const SERIES = 'debian/patches-rt/series';

/**
 * Packs the source of a real-time kernel: `linux-source-*` has Debian's patches for all kernels, and this adds those of
 * PREEMPT_RT. `source`: the `.tar.xz` of that package; `patches`: Debian's part of the source package, of the same
 * version. `source-patches` where they do not apply.
 */
export async function packRealTime(
  { run, progress, signal }: Pick<Edges, 'run' | 'progress' | 'signal'>,
  { source, patches }: { readonly source: string; readonly patches: string },
  version: string,
  target: string,
): Promise<void> {
  progress.step(`apply the real-time patches to the source ${version}`);
  const limits = { signal, timeoutMs: STEP_LIMIT_MS };
  const scratch = await mkdtemp(join(dirname(target), '.rt-'));
  try {
    const [tree, debian] = [join(scratch, 'tree'), join(scratch, 'files')];
    await Promise.all([mkdir(tree), mkdir(debian)]);
    const plain = ['--strip-components=1', '--no-same-owner', '--no-same-permissions'];
    await Promise.all([
      runOk(run, 'tar', ['-xf', source, '-C', tree, ...plain], limits),
      runOk(run, 'tar', ['-xf', patches, '-C', debian, '--no-same-owner', '--no-same-permissions'], limits),
    ]);
    // Without a series upstream's own PREEMPT_RT is all that there is.
    const series = await readFile(join(debian, SERIES), 'utf8').catch(() => '');
    for (const name of seriesOf(series)) {
      const patch = join(debian, dirname(SERIES), name);
      const words = ['-p1', '--batch', '--forward', '--silent', '--no-backup-if-mismatch', '-d', tree, '-i', patch];
      const result = await run('patch', words, limits);
      if (result.exitCode === 0) continue;
      const said = result.stdout.toString('utf8').trim().split('\n').at(-1);
      throw new KernelError(
        'source-patches',
        `Debian's patch ${name} does not apply to the source ${version}: ${said}`,
        {
          hint: 'linux-source and the source package linux are not of one version: report it',
        },
      );
    }
    const packed = join(scratch, 'source.tar.zst');
    // The same bytes each time: the provenance of livepatches names their hash.
    const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
    const compressor = ['--use-compress-program', 'zstd -q -1 -T0'];
    await runOk(run, 'tar', [...same, ...compressor, '-cf', packed, '-C', scratch, 'tree'], limits);
    await rename(packed, target);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The patches that a quilt series names, in order; options behind a name (`-p1`) are the usual ones. */
export function seriesOf(series: string): string[] {
  const names = series.split('\n').flatMap((line) => /^\s*([^#\s]\S*)/.exec(line)?.[1] ?? []);
  const strange = names.find((name) => name.split('/').some((part) => part === '' || part === '..'));
  if (strange !== undefined)
    throw new KernelError('source-patches', `the series of patches names ${strange}`, {
      hint: 'the source package is damaged, or is not that of Debian: name another mirror with KMEND_MIRROR',
    });
  return names;
}
