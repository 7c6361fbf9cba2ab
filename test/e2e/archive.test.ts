import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { type Clock, errorCode, type KmendError, silentProgress } from '@kmend/base';
import { run, sha256File, systemClock } from '@kmend/base/node';
import { SUITE } from '@kmend/harness';
import { Archive, mirrors, type PackageEntry } from '@kmend/kernel';

/** Debian's archive, with its real signatures, through a mirror on the loopback that tampers. */
const upstream = mirrors(process.env);
const known = new Map<string, { readonly status: number; readonly body: Buffer }>();

/**
 * What the mirror answers in the place of `body`: other bytes, or a status. Paths begin with `/main` or `/security`.
 */
type Tamper = (path: string, body: Buffer) => Buffer | number;
const honest: Tamper = (_, body) => body;
let tamper = honest;
/** What the snapshot archive knows about where a package was. */
let places: string | number = 404;

async function fromUpstream(path: string): Promise<{ readonly status: number; readonly body: Buffer }> {
  const found = known.get(path);
  if (found !== undefined) return found;
  if (path.startsWith('/snapshot/mr/')) {
    return typeof places === 'number'
      ? { status: places, body: Buffer.alloc(0) }
      : { status: 200, body: Buffer.from(places) };
  }
  // The past of the snapshot archive is played by today's archive.
  const url = path
    .replace(/^\/main|^\/snapshot\/archive\/debian\/\d{8}T\d{6}Z/, upstream.main)
    .replace(/^\/security/, upstream.security);
  const response = await fetch(url);
  const answer = { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  known.set(path, answer);
  return answer;
}

const server = createServer((request, response) => {
  const path = request.url ?? '';
  fromUpstream(path).then(
    ({ status, body }) => {
      const answer = status === 200 ? tamper(path, body) : status;
      if (typeof answer === 'number') response.writeHead(answer).end();
      else response.end(answer);
    },
    () => response.destroy(),
  );
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
after(() => {
  server.closeAllConnections();
  server.close();
});

interface World {
  readonly archive: Archive;
  /** Another archive on the same cache, as a later run has it. */
  again(): Archive;
  cached(): Promise<string[]>;
  readonly cache: string;
}

async function world(t: TestContext, how: Tamper = honest, clock: Clock = systemClock): Promise<World> {
  tamper = how;
  const cache = await mkdtemp(join(tmpdir(), 'kmend-archive-'));
  t.after(() => rm(cache, { recursive: true, force: true }));
  const limits = { attempts: 2, pauseMs: 10, stallMs: 60_000, attemptMs: 120_000, leastRate: 64 << 10 };
  const edges = { run, clock, fetch, progress: silentProgress, signal: new AbortController().signal, limits };
  const where = { main: `${base}/main`, security: `${base}/security`, snapshot: `${base}/snapshot` };
  const again = (): Archive => new Archive(edges, where, cache);
  const cached = (): Promise<string[]> => readdir(join(cache, 'packages')).catch(() => []);
  return { archive: again(), again, cached, cache };
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => {
    if (errorCode(error) === code) return true;
    throw error;
  };
}

/** Another byte in the middle. */
function flipped(body: Buffer): Buffer {
  const changed = Buffer.from(body);
  const middle = changed.length >> 1;
  changed[middle] = (changed[middle] ?? 0) ^ 1;
  return changed;
}

async function smallPackage(archive: Archive): Promise<PackageEntry> {
  const found = (await archive.packages(SUITE)).find(({ name }) => name === 'linux-base');
  assert.ok(found !== undefined);
  return found;
}

const isRelease = (path: string): boolean => path.startsWith(`/main/dists/${SUITE}/`) && path.endsWith('/InRelease');
const isIndex = (path: string): boolean => /\/by-hash\/|\/Packages\.xz$/.test(path);

test('fetches a package by its signed index once, and again when its file is damaged', async (t) => {
  const { archive, again, cached } = await world(t);
  const entries = await archive.packages(SUITE);
  assert.ok(entries.every(({ name }) => name.startsWith('linux-')));
  const entry = await smallPackage(archive);
  const path = await archive.fetch(entry);
  assert.equal(await sha256File(path), entry.sha256);
  assert.equal((await cached()).length, 1);

  tamper = () => 500;
  assert.equal(await again().fetch(entry), path);
  tamper = honest;
  await writeFile(path, flipped(await readFile(path)));
  assert.equal(await again().fetch(entry), path);
  assert.equal(await sha256File(path), entry.sha256);
  assert.equal((await cached()).length, 1);
});

test('fetches a package once for two callers at the same time', async (t) => {
  let asked = 0;
  const { archive, again } = await world(t, (path, body) => {
    if (path.endsWith('.deb')) asked++;
    return body;
  });
  const entry = await smallPackage(archive);
  const [one, other] = await Promise.all([archive.fetch(entry), again().fetch(entry)]);
  assert.equal(one, other);
  assert.equal(asked, 1);
});

const untrusted: Readonly<Record<string, Tamper>> = {
  'changed inside': (path, body) => {
    if (!isRelease(path)) return body;
    return Buffer.from(body.toString('latin1').replace(/^Components: /m, 'Components: more '), 'latin1');
  },
  'without its signature': (path, body) => {
    if (!isRelease(path)) return body;
    const text = body.toString('latin1');
    return Buffer.from(text.slice(text.indexOf('\n\n') + 2, text.indexOf('-----BEGIN PGP SIGNATURE')), 'latin1');
  },
  'signed, with more lines in front': (path, body) => {
    if (!isRelease(path)) return body;
    const text = body.toString('latin1').split('\n\n').slice(1).join('\n\n');
    return Buffer.from(`-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: mine\n${text}`, 'latin1');
  },
  'a page of a captive portal': (path, body) => (isRelease(path) ? Buffer.from('<html>log in first</html>') : body),
  empty: (path, body) => (isRelease(path) ? Buffer.alloc(0) : body),
};

for (const [what, how] of Object.entries(untrusted)) {
  test(`rejects an InRelease ${what} as untrusted, and keeps nothing`, async (t) => {
    const { archive, cached } = await world(t, how);
    await assert.rejects(archive.packages(SUITE), (error: KmendError) => {
      assert.equal(error.code, 'archive-untrusted');
      assert.ok(error.hint !== undefined);
      return true;
    });
    assert.deepEqual(await cached(), []);
  });
}

test('rejects the signed InRelease of another distribution', async (t) => {
  const other = await fromUpstream(`/main/dists/${SUITE}-updates/InRelease`);
  assert.equal(other.status, 200);
  const { archive } = await world(t, (path, body) => (isRelease(path) ? other.body : body));
  await assert.rejects(archive.packages(SUITE), hasCode('archive-untrusted'));
});

test('ignores text around what is signed', async (t) => {
  const { archive } = await world(t, (path, body) => {
    if (!isRelease(path)) return body;
    return Buffer.concat([Buffer.from('Suite: mine\nValid-Until: never\n\n'), body]);
  });
  // Both lines would have been refused.
  assert.ok((await archive.packages(SUITE)).length > 0);
});

test('rejects an index that has another byte, is truncated, or is missing', async (t) => {
  for (const change of [flipped, (body: Buffer) => body.subarray(0, 1000), () => 404]) {
    const { archive } = await world(t, (path, body) => (isIndex(path) ? change(body) : body));
    await assert.rejects(archive.packages(SUITE), hasCode('archive-garbage'));
  }
});

test('reads an index without Acquire-By-Hash', async (t) => {
  const { archive } = await world(t, (path, body) => (path.includes('/by-hash/') ? 404 : body));
  assert.ok((await archive.packages(SUITE)).length > 0);
});

test('rejects a package with another byte, a truncated and a longer one as damaged; a missing one as unknown', async (t) => {
  const longer = (body: Buffer): Buffer => Buffer.concat([body, Buffer.from('more')]);
  for (const change of [flipped, (body: Buffer) => body.subarray(0, 1000), longer]) {
    const { archive, cached } = await world(t, (path, body) => (path.endsWith('.deb') ? change(body) : body));
    await assert.rejects(archive.fetch(await smallPackage(archive)), hasCode('package-damaged'));
    assert.deepEqual(await cached(), []);
  }
  const { archive, cached } = await world(t, (path, body) => (path.endsWith('.deb') ? 404 : body));
  await assert.rejects(archive.fetch(await smallPackage(archive)), hasCode('package-unknown'));
  assert.deepEqual(await cached(), []);
});

test('rejects an expired index', async (t) => {
  const late = { ...systemClock, now: () => new Date('2100-01-01T00:00:00Z') };
  const { archive } = await world(t, honest, late);
  // The security part of a suite says how long it is valid; a suite itself that was released does not.
  await assert.rejects(archive.packages(SUITE), hasCode('archive-expired'));
});

test('retries a failed mirror at the next call; reports a missing suite', async (t) => {
  const { archive } = await world(t, () => 500);
  await assert.rejects(archive.packages(SUITE), (error: KmendError) => {
    assert.equal(error.code, 'archive-unreachable');
    assert.match(error.hint ?? '', /KMEND_MIRROR/);
    return true;
  });
  tamper = honest;
  assert.ok((await archive.packages(SUITE)).length > 0);
  await assert.rejects(archive.packages('no-such-suite'), hasCode('kernel-unknown'));
});

test('finds a version that the suite no longer has by the signed index of its time, also after that expired', async (t) => {
  const early = { ...systemClock, now: () => new Date('2000-01-01T00:00:00Z') };
  const { archive, again } = await world(t, honest, early);
  const own = new Set((await archive.packages(SUITE)).map(({ name }) => name));
  const entry = (await again().packages('sid')).find(
    ({ name }) => /^linux-headers-.*-amd64$/.test(name) && !own.has(name),
  );
  assert.ok(entry !== undefined);
  const file = { archive_name: 'debian', first_seen: '20261030T000000Z', name: `${entry.name}_x_amd64.deb` };
  places = JSON.stringify({ fileinfo: { abc: [file] } });
  const late = await world(t);
  const found = await late.archive.find(SUITE, entry.name, entry.version);
  assert.deepEqual({ ...found, url: '' }, { ...entry, url: '' });
  assert.match(found.url, /\/snapshot\/archive\/debian\/20261030T000000Z\/pool\//);

  places = JSON.stringify({ result: [{ binary_version: entry.version }, { binary_version: '1-1' }] });
  assert.equal(await late.archive.newest(entry.name), entry.version);
  places = 404;
  assert.equal(await late.archive.newest(entry.name), undefined);
  places = JSON.stringify({ result: [{ binary_version: '../..' }] });
  await assert.rejects(late.archive.newest(entry.name), hasCode('archive-garbage'));

  for (const [answer, code] of [
    [404, 'package-unknown'],
    [JSON.stringify({ fileinfo: {} }), 'package-unknown'],
    [500, 'archive-unreachable'],
    ['<html>log in first</html>', 'archive-garbage'],
    ['{}', 'archive-garbage'],
    [JSON.stringify({ fileinfo: { abc: [{ ...file, first_seen: '../../..' }] } }), 'archive-garbage'],
    [JSON.stringify({ fileinfo: { abc: [{ ...file, archive_name: '..' }] } }), 'archive-garbage'],
  ] as const) {
    places = answer;
    await assert.rejects(late.archive.find(SUITE, entry.name, entry.version), hasCode(code), String(answer));
  }
});

test('reports a mirror that is down', async (t) => {
  const cache = await mkdtemp(join(tmpdir(), 'kmend-archive-'));
  t.after(() => rm(cache, { recursive: true, force: true }));
  const limits = { attempts: 2, pauseMs: 1, stallMs: 1000, attemptMs: 1000, leastRate: 1 << 20 };
  const signal = new AbortController().signal;
  const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal, limits };
  const down = 'http://127.0.0.1:1';
  const archive = new Archive(edges, { main: down, security: down, snapshot: down }, cache);
  await assert.rejects(archive.packages(SUITE), hasCode('archive-unreachable'));
});
