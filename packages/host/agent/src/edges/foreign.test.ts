import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { loadHost } from '../config/host.ts';
import { readReportState } from '../fetcher/report-state.ts';
import { readContact } from '../seen/contact.ts';
import { sweep } from '../state/sweep.ts';
import { enrolOther } from '../testing/clone.ts';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { paths } from './paths.ts';

/** What a fetcher that was taken over may put in place of a file of its own. */
const traps: Record<string, (path: string) => unknown> = {
  'a pipe': (path) => execFileSync('mkfifo', [path]),
  'a link': (path) => symlinkSync('/etc/hostname', path),
  'a second name': (path) => {
    writeFileSync(`${path}.first`, 'x');
    linkSync(`${path}.first`, path);
  },
  'a folder': (path) => mkdirSync(path),
  'a device of the host, by a link': (path) => symlinkSync('/dev/zero', path),
};

for (const [what, lay] of Object.entries(traps)) {
  test(`refuses ${what} in place of a file of the fetcher's without waiting for it`, {
    timeout: 20_000,
  }, async (t) => {
    const kernel = await TestKernel.make();
    t.after(() => kernel.remove());
    const { files } = kernel.edges();
    for (const path of [paths.identity, paths.reports, paths.contact, paths.idle]) {
      mkdirSync(dirname(kernel.path(path)), { recursive: true });
      lay(kernel.path(path));
      await assert.rejects(files.text(path), code('repository-garbage'), path);
    }
    // Seen as what it is: nothing, and said.
    const { contact } = await readContact(kernel.edges());
    assert.equal(contact?.state, 'untrusted');
    assert.match(contact?.detail ?? '', /contact\.json is/);
    assert.equal((await readReportState(kernel.edges())).sequence, 0);
  });
}

test('keeps the host’s identity with root', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const host = { schema: 'kmend.agent-host/1', channel: 'stable', machine: null };
  const mine = '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa';
  const other = '3e1b1f6f-8c1d-4a53-9a43-1a9fd7b2c5aa';
  const identity = { schema: 'kmend.agent-identity/1', hostId: mine, token: 't', channel: 'stable' };
  await assert.rejects(loadHost(kernel.edges()), code('not-enrolled'));
  // Of an agent before root kept it.
  await kernel.write(paths.identity, JSON.stringify(identity));
  assert.equal((await loadHost(kernel.edges())).hostId, mine);
  await kernel.write(paths.host, JSON.stringify({ ...host, hostId: mine }));
  await kernel.write(paths.identity, JSON.stringify({ ...identity, hostId: other, channel: 'canary' }));
  const found = await loadHost(kernel.edges());
  assert.deepEqual([found.hostId, found.channel], [mine, 'stable']);
});

test('recognises a clone of an enrolled machine', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  await enrolOther(kernel);
  await loadHost(kernel.edges());
  await kernel.write('/etc/machine-id', `${'1'.repeat(32)}\n`);
  await assert.rejects(loadHost(kernel.edges()), code('other-machine'));
});

test('removes only half-written files', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const left = ['journal.json.0123456789ab.tmp', 'load-0123456789abcdef.ko'];
  const kept = ['journal.json', 'journal.json.damaged', 'lock', 'notes.tmp'];
  for (const name of [...left, ...kept]) await kernel.write(`${paths.loader}/${name}`, '');
  await sweep(kernel.edges(), paths.loader);
  for (const name of left) assert.ok(!existsSync(kernel.path(`${paths.loader}/${name}`)), name);
  for (const name of kept) assert.ok(existsSync(kernel.path(`${paths.loader}/${name}`)), name);
  rmSync(kernel.path(paths.loader), { recursive: true });
  await sweep(kernel.edges(), paths.loader);
});
