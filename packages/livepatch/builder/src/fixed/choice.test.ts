import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kernel } from '@kmend/kernel';
import type { UnitRequest } from '../assemble/request.ts';
import type { Fix, FixOrigin } from '../fix/model.ts';
import { makeFix } from '../fix/store.ts';
import { choiceOf, howToAdd } from './choice.ts';

const kernel = { suite: 'bookworm', release: '6.1.0-47-amd64' } as Kernel;

function fix(origin: FixOrigin, path = 'net/a.c'): Fix {
  const patch = `--- a/${path}\n+++ b/${path}\n@@ -1 +1 @@\n-a\n+b\n`;
  return makeFix({ id: 'FIX', title: 'a', severity: 'unknown', hardware: false }, origin, patch);
}

const debian = (to: string, path = 'net/a.c'): Fix =>
  fix({ kind: 'debian', suite: 'bookworm', from: '6.1.170-3', to, paths: [path] }, path);

function chosen(fixes: readonly Fix[], wanted?: string, header?: string): string | undefined {
  const headers = new Map(header === undefined ? [] : [[header, '']]);
  // The choice reads these fields of a request alone.
  const request = { unit: { source: 'net/a.c' }, patched: { text: '', headers } } as unknown as UnitRequest;
  return choiceOf(kernel, request, fixes, wanted)?.name;
}

test('compares a unit with the version of the newest fix that touches it', () => {
  assert.equal(chosen([debian('6.1.176-1'), debian('6.1.172-1')]), '6.1.176-1');
  assert.equal(chosen([debian('6.1.172-1'), debian('6.1.180-1', 'net/b.c')]), '6.1.172-1');
});

test('counts a fix of a header for the units that include it', () => {
  const fixes = [debian('6.1.172-1'), debian('6.1.180-1', 'net/b.h')];
  assert.equal(chosen(fixes, undefined, 'net/b.h'), '6.1.180-1');
});

test('takes the version from the command for a fix from a patch or a commit, which names none', () => {
  const fixes = [fix({ kind: 'patch', file: 'a.patch' }), fix({ kind: 'git', commit: 'abc' })];
  assert.equal(chosen(fixes), undefined);
  assert.equal(chosen(fixes, '6.1.176-1'), '6.1.176-1');
});

test('tells how to get the image of a version, of a release and of another flavour', () => {
  const add = 'kmend kernel add --image-only bookworm';
  assert.equal(howToAdd({ name: '6.1.176-1', suite: 'bookworm' }, 'amd64'), `${add}/6.1.176-1`);
  assert.equal(howToAdd({ name: '6.1.176-1', suite: 'bookworm' }, 'cloud-amd64'), `${add}/6.1.176-1/cloud-amd64`);
  const release = { name: '6.1.0-50-cloud-amd64', suite: 'bookworm' };
  assert.equal(howToAdd(release, 'cloud-amd64'), `${add}/6.1.0-50-cloud-amd64`);
});
