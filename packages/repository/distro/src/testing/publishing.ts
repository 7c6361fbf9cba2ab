import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run } from '@kmend/base/node';
import { createKey, type NewKey } from '../openpgp.ts';
import { type PublishedRepository, type PublishOptions, publishApt, publishDnf } from '../repository.ts';
import { serve, type Web } from './web.ts';
import { type World, world } from './world.ts';

/** A depot with a key and a made-up loader, and a web server for what is published from it. */
export interface Publisher extends World {
  readonly keyFile: string;
  readonly web: Web;
  readonly options: PublishOptions;
  apt(more?: Partial<PublishOptions>): Promise<PublishedRepository>;
  dnf(more?: Partial<PublishOptions>): Promise<PublishedRepository>;
}

/** Ed25519, which is made in no time. */
export async function publisher(
  t: Pick<TestContext, 'after'>,
  algorithm: NewKey['algorithm'] = 'ed25519',
): Promise<Publisher> {
  const base = await world(t);
  const keyFile = join(base.folder, 'packages.key');
  const time = base.clock.now();
  await createKey(run, { keyFile, name: 'Example Fleet', email: 'packages@example.invalid', time, algorithm });
  const served = join(base.folder, 'served');
  await mkdir(served);
  const web = await serve(t, served);
  const settings = { origin: 'example', maintainer: 'Example Fleet <packages@example.invalid>' };
  const common = { depot: base.depot, key: { keyFile }, loader: await makeLoader(base.folder), run, clock: base.clock };
  const apt = { ...common, out: join(served, 'apt'), settings: { ...settings, url: `${web.url}/apt` } };
  const dnf = { ...common, out: join(served, 'dnf'), settings: { ...settings, url: `${web.url}/dnf` } };
  return {
    ...base,
    keyFile,
    web,
    options: apt,
    apt: async (more) => await publishApt({ ...apt, ...more }),
    dnf: async (more) => await publishDnf({ ...dnf, ...more }),
  };
}

/** What the loader's folder looks like. It writes down what it was called with, and fails where `/fail` is. */
export async function makeLoader(folder: string): Promise<string> {
  const loader = join(folder, 'loader');
  for (const sub of ['bin', 'parts', 'units']) await mkdir(join(loader, sub), { recursive: true });
  const program = '#!/bin/sh\necho "$@" $(ls /usr/lib/kmend-livepatch/* 2>/dev/null) >>/calls\n[ ! -e /fail ]\n';
  await writeFile(join(loader, 'bin/kmend-livepatch'), program);
  await writeFile(join(loader, 'parts/say.sh'), '# says\n');
  const unit = '[Unit]\nDescription=x\n[Service]\nType=oneshot\nExecStart=/usr/sbin/kmend-livepatch sync --boot\n';
  const units = {
    'kmend-livepatch.service': `${unit}[Install]\nWantedBy=sysinit.target\n`,
    'kmend-livepatch-shutdown.service': `${unit}[Install]\nWantedBy=multi-user.target\n`,
    'kmend-livepatch-soak.service': unit,
  };
  for (const [name, text] of Object.entries(units)) await writeFile(join(loader, 'units', name), text);
  return loader;
}
