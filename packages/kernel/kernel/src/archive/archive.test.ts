import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { errorCode, type Run, silentProgress } from '@kmend/base';
import { sha256, systemClock } from '@kmend/base/node';
import { Archive } from './archive.ts';

const MIRRORS = { main: 'http://main', security: 'http://security', snapshot: 'http://snapshot' };

/** An archive with one kernel in each distribution, whose signature is taken as good. */
function archiveOf(distributions: readonly string[]): Archive {
  const index = (name: string): string =>
    `Package: linux-image-${name}\nVersion: 1\nFilename: pool/${name}.deb\nSize: 1\nSHA256: ${'ab'.repeat(32)}\n`;
  const release = (name: string): string =>
    `Codename: ${name}\nSHA256:\n ${sha256(index(name))} ${index(name).length} main/binary-amd64/Packages.xz\n`;
  const answer = (url: string): string | undefined => {
    const name = /\/dists\/([^/]+)\//.exec(url)?.[1] ?? '';
    if (!distributions.includes(name)) return undefined;
    return url.endsWith('/InRelease') ? release(name) : index(name);
  };
  const run: Run = async (file, args) => {
    if (file === 'gpgv') await writeFile(args[args.indexOf('--output') + 1] ?? '', await readFile(args.at(-1) ?? ''));
    return { exitCode: 0, stdout: file === 'xz' ? await readFile(args.at(-1) ?? '') : Buffer.alloc(0), stderr: '' };
  };
  const fetch = async (url: string): Promise<Response> => {
    const text = answer(url);
    return text === undefined ? new Response('', { status: 404 }) : new Response(text);
  };
  const { signal } = new AbortController();
  return new Archive({ run, fetch, clock: systemClock, progress: silentProgress, signal }, MIRRORS, tmpdir());
}

test('lists the kernels of all parts of a suite', async () => {
  const archive = archiveOf(['bookworm', 'bookworm-updates', 'bookworm-security']);
  assert.deepEqual(
    (await archive.packages('bookworm')).map(({ name }) => name),
    ['linux-image-bookworm', 'linux-image-bookworm-updates', 'linux-image-bookworm-security'],
  );
  assert.equal((await archiveOf(['sid']).packages('sid')).length, 1);
});

test('refuses a mirror without the security part of a suite', async () => {
  for (const there of [
    ['bookworm', 'bookworm-updates'],
    ['bookworm', 'bookworm-security'],
  ]) {
    await assert.rejects(archiveOf(there).packages('bookworm'), (error) => errorCode(error) === 'archive-incomplete');
  }
  await assert.rejects(archiveOf([]).packages('bookworm'), (error) => errorCode(error) === 'kernel-unknown');
});
