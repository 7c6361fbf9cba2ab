import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { factsOf, reportOf } from '@kmend/harness/servers';
import type { Report } from '@kmend/protocol';
import { patchServer } from '../testing/patch-server.ts';
import { hostCommands } from './host.ts';

async function world(t: Parameters<typeof patchServer>[0]) {
  const server = await patchServer(t, [hostCommands]);
  const write = async (name: string, hostId: string, report: Report): Promise<string> => {
    const path = join(server.home, name);
    await writeFile(path, JSON.stringify({ schema: 'kmend.report-file/1', hostId, report }, null, 2));
    return path;
  };
  return { ...server, write };
}

test('imports carried reports oldest first, and shows the host with its obstacles', async (t) => {
  const { enrol, kmend, write, api } = await world(t);
  const [web, db] = [await enrol('web-1'), await enrol('db-1')];
  const event = { at: '2026-11-02T00:00:00Z', code: 'load-failed', message: 'no memory', serial: 1 };
  const files = [
    await write('web-10.json', web, reportOf('web-1', 10)),
    await write('web-9.json', web, reportOf('web-1', 9, { events: [event] })),
    await write('db.json', db, reportOf('db-1', 1)),
  ];
  const { exitCode, out, err } = await kmend('host', 'import', ...files);
  assert.deepEqual([exitCode, err], [0, '']);
  assert.match(out, new RegExp(`^web-1 \\(${web}\\): report 9 stored\\nweb-1 .*: report 10 stored$`, 'm'));
  assert.match(out, /^3 of 3 reports stored$/m);
  assert.deepEqual((await api.showHost(web)).events, [event], 'the older file in the same call counts, too');

  const shown = await kmend('host', 'show', 'web-1');
  assert.match(
    shown.out,
    /no livepatch in force, because\n {2}reason {6}the fleet is halted.*kmend policy fleet --resume \[halted\]/,
  );

  const again = await kmend('host', 'import', files[1] ?? '');
  assert.equal(again.exitCode, 0);
  assert.match(again.out, /report 9 changes nothing: the server has report 10\n0 of 1 reports stored/);
  const json = JSON.parse((await kmend('host', 'import', files[2] ?? '', '--json')).out);
  assert.deepEqual(json.reports[0], {
    file: files[2],
    hostId: db,
    hostname: 'db-1',
    sequence: 1,
    stored: false,
    newest: 1,
  });
});

test('names a host that is not enrolled here, and stores the reports of the others', async (t) => {
  const { enrol, kmend, write } = await world(t);
  const stranger = await write('a.json', '00000000-0000-4000-8000-000000000000', reportOf('web-9\u001b[2J', 1));
  const known = await write('b.json', await enrol('web-1'), reportOf('web-1', 1));
  const { exitCode, out, err } = await kmend('host', 'import', stranger, known);
  assert.equal(exitCode, 1);
  assert.match(
    err,
    /a\.json: no host 0+-.* \(web-9\u{fffd}\[2J\) is enrolled here \[not-found\]\n {2}it was removed, or/u,
  );
  assert.match(out, /web-1 .*: report 1 stored\n1 of 2 reports stored/);
  const json = JSON.parse((await kmend('host', 'import', stranger, '--json')).out);
  assert.equal(json.reports[0].error.code, 'not-found');
});

test('rejects a file that is no report before it sends anything', async (t) => {
  const { home, enrol, kmend, write, api } = await world(t);
  const host = await enrol('web-1');
  const good = await write('good.json', host, reportOf('web-1', 1));
  const bare = join(home, 'bare.json');
  await writeFile(bare, JSON.stringify(reportOf('web-1', 1)));
  const wrong = await write('wrong.json', host, { ...reportOf('web-1', 1), sequence: 0 });
  const text = join(home, 'text.json');
  await writeFile(text, 'no JSON');
  for (const [path, said] of [
    [bare, /bare\.json is not a report file at schema/],
    [wrong, /wrong\.json is not a report file at report\.sequence/],
    [text, /text\.json is not a report file/],
    [join(home, 'absent.json'), /absent\.json cannot be read: ENOENT/],
    [home, /cannot be read: EISDIR/],
  ] as const) {
    const { exitCode, err } = await kmend('host', 'import', good, path);
    assert.equal(exitCode, 1);
    assert.match(err, said);
    assert.match(err, /\[report-unreadable\]\n {2}nothing was imported; kmend-agent check --report/);
  }
  assert.equal((await api.showHost(host)).lastReport, null);
});

test('removes and resets hosts by name, and shows a silent one as silent', async (t) => {
  const { enrol, kmend, api, write } = await world(t);
  const [web, db] = [await enrol('web-1'), await enrol('db-1')];
  await kmend('host', 'import', await write('w.json', web, reportOf('web-1', 1, { at: '2020-01-01T00:00:00Z' })));
  const list = (await kmend('host', 'list')).out;
  assert.match(list, /NOTES/);
  assert.match(list, /web-1 .* silent +2020-01-01/);
  assert.doesNotMatch(list, /web-1 .* behind/, 'what it said last is not shown as if it were so');
  assert.match((await kmend('host', 'show', 'web-1')).out, /^SILENT {4}it does not report any more/m);
  const unknown = await kmend('host', 'remove', 'db-1', 'nobody');
  assert.match(unknown.err, /\[host-unknown\]/);
  assert.equal((await api.listHosts()).total, 2, 'none is removed where one is not known');
  assert.match((await kmend('host', 'remove', 'db-1', web)).out, new RegExp(`^${db} is removed`, 'm'));
  assert.equal((await api.listHosts()).total, 0);
  const again = await enrol('web-2');
  assert.match((await kmend('host', 'reset', 'web-2')).out, new RegExp(`^${again}: the next report is accepted`));
});

test('lists all machines that share an identity, and a kernel that waits for a reboot', async (t) => {
  const { enrol, kmend, write } = await world(t);
  const id = await enrol('web-1');
  const at = new Date().toISOString();
  const as = (hostname: string, boot: string, sequence: number, machineId: string) => {
    const facts = { ...factsOf(hostname), bootId: `00000000-0000-4000-8000-0000000000${boot}`, machineId };
    const pendingKernel = { release: '6.1.0-48-amd64', buildId: null, serial: null };
    return reportOf(hostname, sequence, { at, facts: { ...facts, pendingKernel } });
  };
  await kmend('host', 'import', await write('a.json', id, as('web-1', '0a', 1, 'a'.repeat(64))));
  await kmend('host', 'import', await write('b.json', id, as('web-2', '0b', 2, 'b'.repeat(64))));
  const { out } = await kmend('host', 'list');
  assert.match(out, /web-2 .* 2 machines share this identity; reboot brings 6\.1\.0-48-amd64/);
  assert.match(out, /web-1 .* shared .* reports with the same identity/);
  const shown = (await kmend('host', 'show', id)).out;
  assert.match(shown, /^SHARED .*\n +web-1, machine aaaaaaaaaaaa, boot .*0a/m);
  assert.match(shown, /^reboot +brings kernel 6\.1\.0-48-amd64; no livepatch is ready for it$/m);
});
