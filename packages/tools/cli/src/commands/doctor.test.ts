import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnosisText } from './doctor.ts';

const TRIXIE = {
  release: '6.12.111+deb13-amd64',
  buildId: '17',
  compiler: 'gcc-14 (Debian 14.2.0-19) 14.2.0',
  bytes: 701_000_000,
};
const root = 'trixie-gcc-14-14.2.0-19-6376641a';
const inRoot = { ...TRIXIE, system: 'build root', root } as const;

test('shows where each kernel is compiled, and what is to be done', () => {
  const whole = { name: root, bytes: 301_400_000, packages: 145, state: 'whole' } as const;
  assert.match(
    diagnosisText({ kernels: [inRoot], roots: [] }),
    /6\.12\.111.* build root \S+ \(made by the first build\)/,
  );
  const ready = diagnosisText({ kernels: [inRoot], roots: [whole] });
  assert.match(ready, /^6\.12\.111\S+ +701 MB +none yet .*\(ready\)$/m);
  const prepared = { ...TRIXIE, treeBytes: 1_499_900_000, system: 'given root', root: '/srv/root' } as const;
  assert.match(
    diagnosisText({ kernels: [prepared], roots: [] }),
    /^6\.12\.111\S+ +701 MB +1500 MB .* your build root \/srv\/root$/m,
  );
  assert.match(ready, /^trixie-gcc-14-14\.2\.0-19-6376641a +301 MB +145 +whole$/m);
  const damaged = diagnosisText({ kernels: [inRoot], roots: [{ ...whole, packages: 0, state: 'damaged' }] });
  assert.match(damaged, /damaged: made again by the next build/);
  assert.match(diagnosisText({ kernels: [{ ...TRIXIE, system: 'this machine' }], roots: [] }), / this machine$/m);
  assert.match(diagnosisText({ kernels: [{ ...TRIXIE, system: 'nowhere' }], roots: [] }), / nowhere: install that/);
  assert.match(diagnosisText({ kernels: [], roots: [] }), /^no kernel yet/);
});
