import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Progress } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { packFolder } from '../client/pack-folder.ts';
import { ask, enrol, enrolled, withCode } from '../testing/ask.ts';
import { aptEntries, dnfEntries, streamOf, type TarEntry, tarOf } from '../testing/tar.ts';
import { type TestServer, testServer } from '../testing/world.ts';

const INDEX = 'apt/dists/updates/main/binary-amd64/Packages';
const RELEASE = 'apt/dists/updates/InRelease';

const put = async ({ api }: TestServer, format: 'apt' | 'dnf', entries: readonly TarEntry[]) =>
  api.publishPackages(format, streamOf(await tarOf(entries)));

const basic = (user: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

const fetchFile = ({ server }: TestServer, path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${server.packagesUrl}/${path}`, { headers, method });

const newKey = ({ api }: TestServer, seats: number | null = null, expires: string | null = null) =>
  api.createKey({ name: 'k', channel: 'stable', seats, expires });

test('serves an uploaded folder byte for byte, with content types and cache headers', async (t) => {
  const world = await testServer(t, { openPackages: true });
  const folder = world.path('written');
  for (const { name, data = '' } of aptEntries('one', [
    { name: 'dists/updates/main/binary-amd64/Packages.gz', data: 'gz' },
    { name: `dists/updates/main/binary-amd64/by-hash/SHA512/${'ab'.repeat(64)}`, data: 'by its hash' },
    { name: 'pool/main/a_1:2~3+b_amd64.deb', data: 'epoch' },
  ])) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), data);
  }
  await symlink('written', world.path('link'));
  let told = 0;
  const progress: Progress = {
    step() {},
    advance(done) {
      told = done;
    },
  };
  const tar = await packFolder(world.path('link'));
  const { published, ...said } = await world.api.publishPackages('apt', tar, progress);
  assert.deepEqual(said, { format: 'apt', files: 6, bytes: tar.size, unchanged: 0 });
  assert.equal(told, tar.size);
  await put(world, 'dnf', dnfEntries('one'));
  const seen = async (path: string) => {
    const { status, headers, body } = await fetchFile(world, path);
    const text = body === null ? '' : await new Response(body).text();
    return [status, headers.get('content-type'), headers.get('cache-control'), text];
  };
  const plain = 'text/plain; charset=utf-8';
  const forever = 'public, max-age=31536000, immutable';
  const deb = 'application/vnd.debian.binary-package';
  assert.deepEqual(await seen(INDEX), [200, plain, 'no-cache', 'Package: one\n']);
  assert.deepEqual(await seen(`${INDEX}.gz`), [200, 'application/gzip', 'no-cache', 'gz']);
  assert.deepEqual(await seen('apt/pool/main/one_1_amd64.deb'), [200, deb, forever, 'deb of one']);
  // As apt encodes it.
  assert.deepEqual(await seen('apt/pool/main/a_1%3a2%7e3%2bb_amd64.deb'), [200, deb, forever, 'epoch']);
  assert.deepEqual(await seen(`apt/dists/updates/main/binary-amd64/by-hash/SHA512/${'ab'.repeat(64)}`), [
    200,
    'application/octet-stream',
    forever,
    'by its hash',
  ]);
  assert.deepEqual((await seen('dnf/packages/one-1.x86_64.rpm')).slice(0, 3), [200, 'application/x-rpm', forever]);
  assert.deepEqual((await seen('dnf/repodata/repomd.xml')).slice(0, 3), [200, 'application/xml', 'no-cache']);
  assert.deepEqual((await seen('dnf/repodata/repomd.xml.asc')).slice(0, 3), [200, plain, 'no-cache']);
});

test('answers conditional requests, ranges and HEAD as apt and dnf send them', async (t) => {
  const world = await testServer(t, { openPackages: true });
  await put(world, 'apt', aptEntries('one'));
  const first = await fetchFile(world, INDEX);
  const [etag, modified] = [first.headers.get('etag') ?? '', first.headers.get('last-modified') ?? ''];
  // fetch adds "cache-control: no-cache" to conditional requests, which would ask for the whole file.
  const status = async (headers: Record<string, string>) =>
    (await fetchFile(world, INDEX, { 'cache-control': 'max-age=0', ...headers })).status;
  assert.equal(await status({ 'if-none-match': etag }), 304);
  assert.equal(await status({ 'if-modified-since': modified }), 304);
  const head = await fetchFile(world, INDEX, {}, 'HEAD');
  assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '13', '']);
  const part = await fetchFile(world, INDEX, { range: 'bytes=9-', 'if-range': modified });
  assert.deepEqual(
    [part.status, part.headers.get('content-range'), await part.text()],
    [206, 'bytes 9-12/13', 'one\n'],
  );
  const beyond = await fetchFile(world, INDEX, { range: 'bytes=13-' });
  assert.deepEqual([beyond.status, beyond.headers.get('content-range')], [416, 'bytes */13']);
  assert.equal(beyond.headers.get('cache-control'), 'no-store');
  // The same length, in the same second.
  await put(world, 'apt', aptEntries('two'));
  assert.equal(await status({ 'if-none-match': etag }), 200);
  assert.equal(await status({ 'if-modified-since': modified }), 200);
  const whole = await fetchFile(world, INDEX, { range: 'bytes=9-', 'if-range': modified });
  assert.deepEqual([whole.status, await whole.text()], [200, 'Package: two\n'], 'no half of one and half of another');
});

test('serves only files of the repository, and says if none is published', async (t) => {
  const world = await testServer(t, { openPackages: true });
  const none = await fetchFile(world, RELEASE);
  assert.deepEqual([none.status, none.headers.get('content-type')], [404, 'text/plain; charset=utf-8']);
  assert.match(await none.text(), /^not-found: no apt repository has been published here\n.*kmend repo apt/);
  await put(world, 'apt', aptEntries('one'));
  for (const path of ['', 'dists', 'dists/', 'pool/main/', '../current/dists/updates/InRelease', 'nothing']) {
    const reply = await fetchFile(world, `apt/${path.replaceAll('..', '%2e%2e').replaceAll('%2e/', '%2e%2f')}`);
    assert.equal(reply.status, 404, path);
  }
  for (const path of ['/packages/apt/..%2f..%2foperator-token', '/packages/apt/../../operator-token']) {
    const status = await new Promise((resolve, reject) => {
      const { hostname, port } = new URL(world.server.url);
      get({ hostname, port, path }, (response) => resolve(response.resume().statusCode)).on('error', reject);
    });
    assert.equal(status, 404, path);
  }
  assert.equal((await fetchFile(world, 'dnf/dists/updates/InRelease')).status, 404);
  assert.equal((await fetchFile(world, 'gem/x')).status, 400);
});

test('serves one repository or the other, never a mixture, while it is replaced again and again', async (t) => {
  const world = await testServer(t, { openPackages: true });
  const big = (n: number) => aptEntries(`r${n}`, [{ name: 'dists/updates/big', data: String(n).repeat(2_000_000) }]);
  await put(world, 'apt', big(0));
  let done = false;
  let reads = 0;
  const reader = async (): Promise<void> => {
    while (!done) {
      const reply = await fetchFile(world, 'apt/dists/updates/big');
      assert.equal(reply.status, 200);
      const text = await reply.text();
      assert.ok(text === text.slice(0, 1).repeat(2_000_000), 'one version of the file, whole');
      const index = await (await fetchFile(world, INDEX)).text();
      const name = index.slice('Package: '.length).trim();
      assert.equal((await fetchFile(world, `apt/pool/main/${name}_1_amd64.deb`)).status, 200, 'what an index names');
      reads += 1;
    }
  };
  const readers = Promise.all([reader(), reader(), reader()]);
  for (let n = 1; n <= 6; n++) await put(world, 'apt', big(n));
  done = true;
  await readers;
  assert.ok(reads >= 6, String(reads));
});

test('accepts uploads only from the operator, whose client gets the code of a refusal at any size', async (t) => {
  const world = await testServer(t);
  const { token } = await enrolled(world);
  assert.equal((await ask(world, 'PUT', '/v1/packages/apt', { body: {}, token })).status, 401);
  assert.equal((await ask(world, 'PUT', '/v1/packages/apt', { body: {}, token: world.token })).status, 400);
  assert.equal((await ask(world, 'GET', '/v1/packages/seats', { token })).status, 401);
  const long = [
    { name: '/x', data: 'x' },
    ...Array.from({ length: 20 }, (_, n) => ({ name: `x${n}`, data: Buffer.alloc(2 ** 20) })),
  ];
  await assert.rejects(put(world, 'apt', long), withCode('tar-path-absolute'));
  await assert.rejects(put(world, 'apt', dnfEntries('x')), withCode('packages-incomplete'));
  await assert.rejects(world.api.publishPackages('apt', streamOf(Buffer.from('garbage'))), withCode('tar-damaged'));
  assert.deepEqual(await readdir(world.path('data', 'packages', 'apt')), []);
});

test('drops an interrupted upload and accepts the next', async (t) => {
  const world = await testServer(t);
  const archive = await tarOf(aptEntries('one', [{ name: 'pool/big', data: Buffer.alloc(100_000) }]));
  const { hostname, port } = new URL(world.server.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `PUT /v1/packages/apt HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.token}\r\ncontent-type: application/x-tar\r\ncontent-length: ${archive.length}\r\n\r\n`,
  );
  socket.write(archive.subarray(0, 50_000));
  const folder = world.path('data', 'packages', 'apt');
  const left = async (count: number): Promise<void> => {
    for (let n = 0; n < 100 && (await readdir(folder)).length !== count; n++) await systemClock.sleep(50);
    assert.equal((await readdir(folder)).length, count);
  };
  await left(1);
  await assert.rejects(put(world, 'apt', aptEntries('two')), withCode('packages-busy'));
  socket.destroy();
  await left(0);
  assert.equal((await put(world, 'apt', aptEntries('two'))).files, 3);
  const again = await world.restart({ openPackages: true });
  assert.equal(await (await fetchFile(again, INDEX)).text(), 'Package: two\n');
});

test('refuses a missing, unknown, revoked or expired key in words that apt shows', async (t) => {
  const world = await testServer(t);
  await put(world, 'apt', aptEntries('one'));
  const { key } = await newKey(world);
  const good = await fetchFile(world, INDEX, basic('kmend', key));
  assert.deepEqual([good.status, good.headers.get('cache-control')], [200, 'no-cache']);
  const deb = await fetchFile(world, 'apt/pool/main/one_1_amd64.deb', basic('anyone', key));
  assert.match(deb.headers.get('cache-control') ?? '', /^private, max-age/, 'no shared cache gives it to others');
  const revoked = await newKey(world);
  await world.api.revokeKey(revoked.id);
  const expired = await newKey(world, null, '2026-01-01T00:00:00Z');
  const answer = async (headers: Record<string, string>) => {
    const reply = await fetchFile(world, INDEX, headers);
    return [reply.status, reply.statusText, reply.headers.get('www-authenticate'), (await reply.text()).split(':')[0]];
  };
  const realm = 'Basic realm="kmend packages"';
  const unknown = 'kmend-00000-00000-00000-00000-00000';
  assert.deepEqual(await answer({}), [401, 'kmend asks for an activation key (unauthorized)', realm, 'unauthorized']);
  assert.deepEqual(await answer(basic('kmend', unknown)), [
    401,
    'kmend does not know the activation key (key-unknown)',
    realm,
    'unauthorized',
  ]);
  assert.deepEqual(await answer(basic('kmend', revoked.key)), [
    403,
    'the activation key was revoked (key-revoked)',
    null,
    'key-revoked',
  ]);
  assert.deepEqual(await answer(basic('kmend', expired.key)), [
    403,
    'the activation key has expired (key-expired)',
    null,
    'key-expired',
  ]);
  for (const headers of [
    { authorization: `Bearer ${key}` },
    { authorization: 'Basic !' },
    { authorization: `Basic ${'A'.repeat(5000)}` },
    basic('kmend', ''),
    { authorization: `Basic ${Buffer.from(key).toString('base64')}` },
  ]) {
    assert.equal((await answer(headers))[0], 401, JSON.stringify(headers));
  }
  // Clients without a key do not learn what is missing.
  assert.equal((await fetchFile(world, 'apt/nothing')).status, 401);
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  assert.match(metrics, /kmend_packages_requests_total\{format="apt",result="key-revoked"\} 1/);
  assert.match(metrics, /kmend_packages_requests_total\{format="apt",result="ok"\} 2/);
  await world.server.close();
  assert.match(world.log(), /"code":"key-revoked".*"keyId":"[0-9a-f-]{36}".*"packages refused"/);
  for (const secret of [
    key,
    revoked.key,
    expired.key,
    unknown,
    ...[key, revoked.key].map((one) => basic('kmend', one)['authorization']?.slice(6) ?? ''),
  ]) {
    assert.equal(world.log().includes(secret), false);
  }
});

test('rate-limits wrong keys, and does not count missing ones', async (t) => {
  const world = await testServer(t);
  await put(world, 'apt', aptEntries('one'));
  for (let n = 0; n < 60; n++) assert.equal((await fetchFile(world, INDEX)).status, 401);
  let limited: Response | undefined;
  for (let n = 0; n < 60 && limited === undefined; n++) {
    const reply = await fetchFile(world, INDEX, basic('kmend', `kmend-guess-${n}`));
    if (reply.status === 429) limited = reply;
  }
  assert.ok(Number(limited?.headers.get('retry-after')) >= 1);
  assert.match((await limited?.text()) ?? '', /^rate-limited/);
});

test('shares seats between machines and hosts, and frees a machine’s seat after thirty days', async (t) => {
  const time = { offset: 0 };
  const clock = { ...systemClock, now: () => new Date(Date.now() + time.offset) };
  const world = await testServer(t, { clock });
  await put(world, 'apt', aptEntries('one'));
  const { key, id } = await newKey(world, 2);
  const visit = async (user: string) => {
    const reply = await fetchFile(world, INDEX, basic(user, key));
    return reply.status === 200 ? 'ok' : (await reply.text()).split(':')[0];
  };
  assert.equal(await visit('kmend'), 'host-unnamed');
  assert.equal(await visit('kmend-'), 'host-unnamed');
  // As earlier setups called every machine with an empty /etc/machine-id.
  assert.equal(await visit('kmend-e3b0c44298fc1c14'), 'host-unnamed');
  assert.deepEqual([await visit('kmend-a'), await visit('kmend-a')], ['ok', 'ok']);
  assert.equal((await enrol(world, key)).status, 201);
  assert.equal(await visit('kmend-b'), 'key-no-seats');
  assert.equal(await visit('kmend-a'), 'ok');
  assert.equal((await enrol(world, key, 'web-2')).body.error?.code, 'key-no-seats');
  const used = async () => (await world.api.listKeys()).find((one) => one.id === id)?.used;
  assert.equal(await used(), 2);
  assert.deepEqual(
    (await world.api.packageSeats()).map(({ keyId, hosts }) => [keyId, hosts]),
    [[id, 1]],
  );
  time.offset = 29 * 86_400_000;
  assert.equal(await visit('kmend-a'), 'ok');
  time.offset = 58 * 86_400_000;
  assert.equal(await visit('kmend-b'), 'key-no-seats');
  time.offset = 60 * 86_400_000;
  assert.equal(await used(), 1);
  assert.deepEqual([await visit('kmend-b'), await visit('kmend-a')], ['ok', 'key-no-seats']);
});

test('gives the last seat to one machine only, however many ask at once', async (t) => {
  const world = await testServer(t);
  await put(world, 'apt', aptEntries('one'));
  const { key } = await newKey(world, 3);
  const asked = Array.from({ length: 12 }, (_, n) => fetchFile(world, INDEX, basic(`kmend-${n}`, key)));
  const replies = await Promise.all(asked);
  assert.equal(replies.filter(({ status }) => status === 200).length, 3);
  assert.equal(replies.filter(({ status }) => status === 403).length, 9);
});

test('counts named machines under a key without a limit, and requires no name', async (t) => {
  const world = await testServer(t);
  await put(world, 'apt', aptEntries('one'));
  const { key } = await newKey(world);
  for (const user of ['kmend', '', 'admin', 'kmend-a', 'kmend-b', 'kmend-b']) {
    assert.equal((await fetchFile(world, INDEX, basic(user, key))).status, 200, user);
  }
  assert.deepEqual(
    (await world.api.packageSeats()).map(({ hosts }) => hosts),
    [2],
  );
});
