import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Config } from '../config/schema.ts';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { buySeat, type Enrolment, finishEnrolment, prepareEnrolment } from './enrol.ts';

const root = JSON.stringify({ signed: { _type: 'root', version: 1 }, signatures: [] });
const hostId = '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa';

test('writes state only for an accepted activation key', async (t) => {
  const kernel = await TestKernel.make();
  let asked = 0;
  const server = createServer(async (request, response) => {
    asked += 1;
    const { activationKey } = JSON.parse(Buffer.concat(await request.toArray()).toString());
    if (activationKey === 'good-key')
      response.writeHead(201).end(JSON.stringify({ hostId, token: 'secret', channel: 'canary' }));
    else response.writeHead(403).end('{"error":{"code":"key-revoked","message":"this key was revoked"}}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(async () => {
    server.close();
    await kernel.remove();
  });
  const edges = { ...kernel.edges(), fetch };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const given = { server: url, root, allowPlainHttp: false, again: false };
  const enrol = async ({ activationKey, ...enrolment }: Enrolment & { activationKey: string }) => {
    const config = await prepareEnrolment(edges, enrolment);
    const identity = await buySeat(edges, { config: Config.parse(config), activationKey });
    await finishEnrolment(edges, enrolment.root, config, identity);
    return identity;
  };
  const good = { ...given, activationKey: 'good-key' };

  await assert.rejects(enrol({ ...good, activationKey: 'old-key-1' }), code('key-refused'));
  await assert.rejects(enrol({ ...good, root: '{}' }), code('root-invalid'));
  await assert.rejects(enrol({ ...good, server: 'http://10.1.1.1' }), code('config-invalid'));
  assert.equal(asked, 1);
  assert.ok(!existsSync(kernel.path('/etc/kmend-agent')) && !existsSync(kernel.path('/var/lib/kmend-agent')));

  const identity = await enrol(good);
  assert.equal(identity.channel, 'canary');
  assert.equal(statSync(kernel.path('/var/lib/kmend-agent/fetcher/identity.json')).mode & 0o777, 0o600);
  assert.equal(readFileSync(kernel.path('/etc/kmend-agent/root.json'), 'utf8'), root);
  assert.deepEqual(JSON.parse(readFileSync(kernel.path('/etc/kmend-agent/config.json'), 'utf8')), { server: url });
  await assert.rejects(enrol(good), code('already-enrolled'));
});
