import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanEnvironment, run, runOk } from '@kmend/base/node';

/**
 * The reverse proxy examples of docs/server.md, word for word, in front of a real `kmend server`: each with a network,
 * an /etc and processes of its own (unshare(1)), where their ports, paths and names are free.
 */
for (const proxy of ['nginx', 'caddy'] as const) {
  const found = await run('sh', ['-c', `command -v ${proxy}`]);
  const skip = found.exitCode === 0 ? false : `${proxy} is not installed (apt-get install ${proxy})`;
  test(`gives hosts and operator through the documented example of ${proxy} what the server itself says`, {
    skip,
  }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'kmend-proxy-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await makeCertificates(folder);
    const apart = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const inside = [join(import.meta.dirname, 'inside.ts'), proxy, folder];
    const child = spawn('unshare', [...apart, process.execPath, '--disable-warning=ExperimentalWarning', ...inside], {
      env: { ...cleanEnvironment(), PATH: process.env['PATH'], NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
    assert.equal(code, 0, said);
  });
}

/** An authority, and a certificate of it for the name in the examples. */
async function makeCertificates(folder: string): Promise<void> {
  const openssl = (...words: string[]) => runOk(run, 'openssl', words, { cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const authority = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ];
  await openssl(
    'req',
    '-x509',
    ...key,
    ...authority,
    '-subj',
    '/CN=test',
    '-days',
    '30',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  await openssl('req', ...key, '-subj', '/CN=kmend.example.org', '-keyout', 'privkey.pem', '-out', 'request.pem');
  await writeFile(join(folder, 'names'), 'subjectAltName=DNS:kmend.example.org\n');
  const sign = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '30', '-extfile', 'names', '-out', 'fullchain.pem'];
  await openssl('x509', '-req', '-in', 'request.pem', ...sign);
}
