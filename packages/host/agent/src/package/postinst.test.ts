import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const POSTINST = fileURLToPath(new URL('files/postinst', import.meta.url));

/** As systemd-tmpfiles of Debian 12 does it. */
const TMPFILES = '#!/bin/sh\n[ -e /proc/self ] || { echo "/proc/ is not mounted" >&2; exit 1; }\n[ ! -e "$FAILS" ]\n';

test('configures in an image that is built without /proc; with /proc, fails if folders cannot be made', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-postinst-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const log = join(folder, 'log');
  const programs = { 'systemd-tmpfiles': TMPFILES };
  for (const name of ['systemd-sysusers', 'deb-systemd-helper', 'systemctl'])
    Object.assign(programs, { [name]: `#!/bin/sh\necho "${name} $*" >>${log}\n` });
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(folder, name), text);
    await chmod(join(folder, name), 0o755);
  }
  const env = { PATH: `${folder}:/usr/bin:/bin`, FAILS: join(folder, 'fails') };
  const hidden = 'mount -t tmpfs none /proc && mount -t tmpfs none /run && exec sh "$0" configure';
  const probe = await run('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/proc']).catch((error: Error) => error);
  if (probe instanceof Error) {
    // A container may refuse them; CI and Debian's own kernels do not.
    t.skip(`no mount namespaces here: ${probe.message}`);
    return;
  }
  await run('unshare', ['-rm', 'sh', '-c', hidden, POSTINST], { env });
  assert.match(await readFile(log, 'utf8'), /deb-systemd-helper .*kmend-agent.service/, 'it went on to its end');
  await writeFile(env.FAILS, '');
  const shown = 'mount -t tmpfs none /run && exec sh "$0" configure';
  await assert.rejects(run('unshare', ['-rm', 'sh', '-c', shown, POSTINST], { env }));
});
