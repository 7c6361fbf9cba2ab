import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanEnvironment, run, runOk, sha256 } from '@kmend/base/node';
import { exampleLivepatch, factsOf, reportOf } from '@kmend/harness/servers';

/** Runs in namespaces of its own (examples.test.ts): PROXY FOLDER. Ends with 0 where everything held. */
const [, , proxy = '', folder = ''] = process.argv;
const REPOSITORY = join(import.meta.dirname, '../..');
const NAME = 'kmend.example.org';
const PROXY_AT = '10.9.0.1';
const CLIENT = '10.9.0.2';
const OTHER_CLIENT = '10.9.0.3';
/** Near the most that an upload may have (docs/server.md, "Limits"): more than a proxy buffers. */
const LARGE = 60 * 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

interface Asked {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly from?: string;
  readonly token?: string;
}

async function ask(method: string, path: string, { headers, body, from = CLIENT, token }: Asked = {}): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const sent = request(`https://${NAME}${path}`, {
      method,
      localAddress: from,
      agent: false,
      headers: {
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
    });
    sent.on('error', reject).on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.end(body);
  });
}

function json({ body }: Answer): Record<string, string> & { readonly error?: { readonly code: string } } {
  return JSON.parse(body.toString());
}

async function until(what: string, ready: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await ready().catch(() => false)) return;
    await sleep(200);
  }
  throw new Error(`it is waited for in vain: ${what}`);
}

function start(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const child = spawn(program, args, {
    env: { ...cleanEnvironment(), PATH: process.env['PATH'], ...env },
    stdio: 'inherit',
  });
  child.on('exit', (code) => process.stdout.write(`${program} ended with ${code}\n`));
  return child;
}

/** Addresses, a name, and an /etc over this machine's, all gone with the namespaces. */
async function prepare(): Promise<void> {
  await runOk(run, 'ip', ['link', 'set', 'lo', 'up']);
  for (const address of [PROXY_AT, CLIENT, OTHER_CLIENT])
    await runOk(run, 'ip', ['address', 'add', address, 'dev', 'lo']);
  const over = join(folder, 'over');
  await mkdir(over);
  await runOk(run, 'mount', ['-t', 'tmpfs', 'tmpfs', over]);
  for (const name of ['upper', 'work']) await mkdir(join(over, name));
  const layers = `lowerdir=/etc,upperdir=${join(over, 'upper')},workdir=${join(over, 'work')}`;
  await runOk(run, 'mount', ['-t', 'overlay', 'overlay', '-o', layers, '/etc']);
  await writeFile('/etc/hosts', `127.0.0.1 localhost\n${PROXY_AT} ${NAME}\n`);
  const live = `/etc/letsencrypt/live/${NAME}`;
  await mkdir(live, { recursive: true });
  for (const name of ['fullchain.pem', 'privkey.pem']) await cp(join(folder, name), join(live, name));
}

/** The example as it stands in docs/server.md. */
async function example(language: string): Promise<string> {
  const page = await readFile(join(REPOSITORY, 'docs/server.md'), 'utf8');
  const [, text] = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? [];
  assert.ok(text !== undefined, `docs/server.md has an example for ${language}`);
  return text;
}

async function startProxy(): Promise<ChildProcess> {
  const work = join(folder, 'proxy');
  await mkdir(work);
  if (proxy === 'caddy') {
    // It would ask a public authority for a certificate: here its own signs, which is this test's.
    const authority = `pki {\nca local {\nroot {\nformat pem_file\ncert ${folder}/ca.pem\nkey ${folder}/ca.key\n}\n}\n}\n`;
    const global = `{\nlocal_certs\nskip_install_trust\nadmin off\n${authority}}\n`;
    await writeFile(join(work, 'Caddyfile'), global + (await example('caddy')));
    const args = ['run', '--config', join(work, 'Caddyfile'), '--adapter', 'caddyfile'];
    return start('caddy', args, { HOME: work, XDG_DATA_HOME: work, XDG_CONFIG_HOME: work });
  }
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((it) => `${it}_temp_path ${work}/${it};\n`);
  const http = `http {\naccess_log off;\n${places.join('')}${await example('nginx')}}\n`;
  await writeFile(join(work, 'nginx.conf'), `daemon off;\nuser root;\npid ${work}/pid;\nevents {}\n${http}`);
  return start('nginx', ['-p', work, '-e', 'stderr', '-c', join(work, 'nginx.conf')]);
}

async function writeLargeLivepatch(): Promise<string> {
  const { manifest } = exampleLivepatch(1);
  const module = randomBytes(LARGE);
  const directory = join(folder, 'livepatch');
  await mkdir(directory);
  await writeFile(join(directory, 'livepatch.ko'), module);
  const file = { ...manifest.file, sha256: sha256(module), size: LARGE };
  await writeFile(join(directory, 'livepatch.json'), JSON.stringify({ ...manifest, file }));
  return directory;
}

async function main(): Promise<void> {
  await prepare();
  const home = join(folder, 'home');
  const server = start(join(REPOSITORY, 'bin/kmend'), ['server', '--behind-proxy', '--log', 'warn'], {
    KMEND_HOME: home,
  });
  const kmend = async (...argv: string[]): Promise<Record<string, never>> => {
    const env = {
      ...cleanEnvironment(),
      KMEND_HOME: home,
      KMEND_SERVER: `https://${NAME}`,
      KMEND_TOKEN: token,
      NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
    };
    const { exitCode, stdout, stderr } = await run(join(REPOSITORY, 'bin/kmend'), [...argv, '--json'], { env });
    assert.equal(exitCode, 0, `kmend ${argv.join(' ')}: ${stdout.toString()}${stderr}`);
    return JSON.parse(stdout.toString());
  };
  const alone = async (): Promise<boolean> => (await fetch('http://127.0.0.1:8470/healthz')).status === 200;
  await until('the server', alone);
  await startProxy();
  await until('the server behind the proxy', async () => (await ask('GET', '/healthz')).status === 200);
  const token = (await readFile(join(home, 'server/operator-token'), 'utf8')).trim();
  const step = (text: string): void => void process.stdout.write(`${proxy}: ${text}\n`);

  step('large uploads of the operator');
  await kmend('publish', await writeLargeLivepatch(), '--unproven');
  const [name = ''] = (await runOk(run, 'sh', ['-c', `cd ${home}/server/repository && find targets -size +50M`]))
    .toString()
    .trim()
    .split('\n');
  const published = await readFile(join(home, 'server/repository', name));
  step('downloads whole, and in ranges');
  const whole = await ask('GET', `/repository/${name}`);
  assert.deepEqual([whole.status, sha256(whole.body)], [200, sha256(published)]);
  const part = await ask('GET', `/repository/${name}`, { headers: { range: `bytes=${LARGE - 1000}-` } });
  assert.deepEqual([part.status, part.headers['content-range']], [206, `bytes ${LARGE - 1000}-${LARGE - 1}/${LARGE}`]);
  assert.ok(part.body.equals(published.subarray(LARGE - 1000)));
  const past = await ask('GET', `/repository/${name}`, { headers: { range: `bytes=${LARGE}-` } });
  assert.equal(past.status, 416);

  step('a check where nothing changed');
  const timestamp = await ask('GET', '/repository/metadata/timestamp.json');
  const etag = String(timestamp.headers['etag']);
  for (const tag of [etag, `W/${etag}`]) {
    const unchanged = await ask('GET', '/repository/metadata/timestamp.json', { headers: { 'if-none-match': tag } });
    assert.deepEqual([unchanged.status, unchanged.body.length], [304, 0], tag);
  }

  step('enrolment and reports');
  const { key } = await kmend('key', 'create', '--name', 'k');
  const facts = factsOf('web-1');
  const enrolled = await ask('POST', '/v1/enrol', { body: JSON.stringify({ activationKey: key, facts }) });
  assert.equal(enrolled.status, 201, enrolled.body.toString());
  const host = json(enrolled);
  const report = (sequence: number, from?: string): Promise<Answer> =>
    ask('POST', '/v1/reports', {
      body: JSON.stringify(reportOf('web-1', sequence)),
      token: host['token'] ?? '',
      ...(from === undefined ? {} : { from }),
    });
  assert.equal((await report(1)).status, 200);

  step('a whole package repository, larger than any upload');
  const maintainer = 'Test <t@example.invalid>';
  const init = ['--origin', 'T', '--maintainer', maintainer, '--url', `https://${NAME}/packages`];
  await kmend('repo', 'packages', 'init', ...init);
  await kmend('repo', 'packages', 'add', join(folder, 'livepatch'), '--unproven');
  await writeFile(join(folder, 'livepatch/livepatch.json'), JSON.stringify(await another()));
  await kmend('repo', 'packages', 'add', join(folder, 'livepatch'), '--unproven');
  await kmend('repo', 'apt');
  const login = `Basic ${Buffer.from(`kmend-m1:${key}`).toString('base64')}`;
  const index = '/packages/apt/dists/updates/InRelease';
  assert.deepEqual(
    [(await ask('GET', index)).status, (await ask('GET', index, { headers: { authorization: login } })).status],
    [401, 200],
  );

  step('refusals come as the server says them');
  const big = Buffer.alloc(LARGE);
  for (let tries = 0; tries < 3; tries++) {
    const tar = { 'content-type': 'application/x-tar' };
    const refused = await ask('PUT', '/v1/packages/apt', {
      body: big,
      token: 'wrong',
      headers: tar,
      from: OTHER_CLIENT,
    });
    assert.deepEqual([refused.status, json(refused).error?.code], [401, 'unauthorized']);
  }
  const tooLarge = await ask('POST', '/v1/reports', { body: Buffer.alloc(2_000_000, 32), token: host['token'] ?? '' });
  assert.deepEqual([tooLarge.status, json(tooLarge).error?.code], [413, 'too-large']);
  assert.equal((await ask('GET', '/metrics')).status, 401);

  step('wrong secrets count by the address of the client');
  const statuses: number[] = [];
  let limited: Answer | undefined;
  for (let tries = 0; tries < 40; tries++) {
    // Whatever a client says of itself.
    const headers = { 'x-forwarded-for': `192.0.2.${tries}` };
    const answer = await ask('GET', '/v1/hosts', { token: 'wrong', headers });
    statuses.push(answer.status);
    if (answer.status === 429) limited = answer;
  }
  assert.ok(limited !== undefined, `no 429 in ${statuses}`);
  assert.match(String(limited.headers['retry-after']), /^\d+$/);
  assert.equal(json(limited).error?.code, 'rate-limited');
  assert.equal((await ask('GET', '/v1/hosts', { token: 'wrong', from: OTHER_CLIENT })).status, 401);
  assert.equal((await ask('GET', '/v1/hosts', { token })).status, 200, 'a valid token is never refused');
  assert.equal((await report(2)).status, 200);

  step('a reload of the server');
  server.kill('SIGHUP');
  await sleep(1000);
  assert.equal((await report(3)).status, 200);
  assert.equal(server.exitCode, null);
}

async function another(): Promise<unknown> {
  const { manifest } = exampleLivepatch(2);
  const module = randomBytes(LARGE);
  await writeFile(join(folder, 'livepatch/livepatch.ko'), module);
  const fixes = [...exampleLivepatch(1).manifest.fixes, ...manifest.fixes];
  return { ...manifest, fixes, file: { ...manifest.file, sha256: sha256(module), size: LARGE } };
}

await main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  },
);
