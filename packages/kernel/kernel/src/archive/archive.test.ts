import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { errorCode, type Run, silentProgress } from '@kmend/base';
import { sha256, systemClock } from '@kmend/base/node';
import type { KernelError } from '../error.ts';
import { Archive, acceptedExpired } from './archive.ts';

const MIRRORS = { main: 'http://main', security: 'http://security', snapshot: 'http://snapshot' };

/** An archive with one kernel in each distribution, whose signature is taken as good. `head`: lines of each Release. */
function archiveOf(distributions: readonly string[], head = '', named = ''): Archive {
  const index = (name: string): string =>
    `Package: linux-image-${name}\nVersion: 1\nFilename: pool/${name}.deb\nSize: 1\nSHA256: ${'ab'.repeat(32)}\n`;
  const release = (name: string): string =>
    `Codename: ${name}\n${head}SHA256:\n ${sha256(index(name))} ${index(name).length} main/binary-amd64/Packages.xz\n`;
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
  return new Archive(
    { run, fetch, clock: systemClock, progress: silentProgress, signal },
    MIRRORS,
    tmpdir(),
    acceptedExpired({ KMEND_ACCEPT_EXPIRED: named }),
  );
}

test('lists the kernels of all parts of a suite', async () => {
  const archive = archiveOf(['bookworm', 'bookworm-updates', 'bookworm-security']);
  assert.deepEqual(
    (await archive.packages('bookworm')).map(({ name }) => name),
    ['linux-image-bookworm', 'linux-image-bookworm-updates', 'linux-image-bookworm-security'],
  );
  assert.equal((await archiveOf(['sid']).packages('sid')).length, 1);
});

test('lists the kernels of a part that is named by itself, and asks for no other', async () => {
  for (const part of ['trixie-backports', 'bookworm-security', 'bookworm-proposed-updates'])
    assert.equal((await archiveOf([part]).packages(part)).length, 1, part);
});

test('takes an index that is out of date only of a suite under development, by the operator’s word, and notes it', async () => {
  const until = 'Fri, 06 Nov 2020 08:08:01 UTC';
  const head = (suite: string): string => `Suite: ${suite}\nValid-Until: ${until}\n`;
  const refused = (named: string, suite: string, hint: RegExp) =>
    assert.rejects(archiveOf(['sid'], head(suite), named).packages('sid'), (error: KernelError) => {
      assert.equal(error.code, 'archive-expired');
      assert.match(error.hint ?? '', hint);
      return true;
    });
  await refused('', 'unstable', /KMEND_ACCEPT_EXPIRED=sid/);
  await refused('trixie, forky', 'unstable', /KMEND_ACCEPT_EXPIRED=sid/);
  await refused('sid', 'stable', /clock is wrong$/);
  const [entry] = await archiveOf(['sid'], head('unstable'), 'trixie, sid').packages('sid');
  assert.equal(entry?.indexExpired, until);
  const [valid] = await archiveOf(['sid'], 'Suite: unstable\n', 'sid').packages('sid');
  assert.ok(valid !== undefined && !('indexExpired' in valid));
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
