import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mirrors } from './archive.ts';
import { cacheName, parsePackages, parseSources } from './index.ts';

const HASH = 'ab'.repeat(32);

function stanza(fields: Readonly<Record<string, string>>): string {
  const whole = {
    Package: 'linux-image-6.1.0-47-amd64',
    Version: '6.1.170-3',
    Depends: 'kmod, linux-base (>= 4.3~)',
    Filename: 'pool/main/l/linux/linux-image.deb',
    Size: '1234',
    SHA256: HASH,
    ...fields,
  };
  return Object.entries(whole)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

test('reads the kernel packages of an index', () => {
  const text = [
    stanza({ Package: 'less' }),
    stanza({ Description: 'Linux\n Version: of a description\n .\n more' }),
    stanza({ Package: 'linux-source-6.1', Filename: 'pool/x_6.1+b1~deb12.deb' }),
    stanza({ Package: 'util-linux' }),
  ].join('\n');
  assert.deepEqual(parsePackages(text, 'http://mirror/debian'), [
    {
      name: 'linux-image-6.1.0-47-amd64',
      version: '6.1.170-3',
      url: 'http://mirror/debian/pool/main/l/linux/linux-image.deb',
      size: 1234,
      sha256: HASH,
      depends: 'kmod, linux-base (>= 4.3~)',
    },
    {
      name: 'linux-source-6.1',
      version: '6.1.170-3',
      url: 'http://mirror/debian/pool/x_6.1+b1~deb12.deb',
      size: 1234,
      sha256: HASH,
      depends: 'kmod, linux-base (>= 4.3~)',
    },
  ]);
});

test('skips entries without a usable place, size or hash', () => {
  for (const fields of [
    { Filename: '../../etc/passwd' },
    { Filename: '/etc/passwd' },
    { Filename: '' },
    { Size: '' },
    { Size: '-1' },
    { Size: '1e99' },
    { SHA256: '' },
    { SHA256: 'zz' },
  ]) {
    assert.deepEqual(parsePackages(stanza(fields), 'http://mirror'), [], JSON.stringify(fields));
  }
  assert.deepEqual(parsePackages('', 'http://mirror'), []);
  assert.deepEqual(parsePackages('<html>not an index</html>', 'http://mirror'), []);
});

test('names cached files of two versions, and of two files of one version, differently', () => {
  const [entry] = parsePackages(stanza({ Version: '1:6.1-1' }), 'http://mirror');
  assert.ok(entry !== undefined);
  assert.match(cacheName(entry), /^linux-image-6\.1\.0-47-amd64_1%3a6\.1-1_[0-9a-f]{8}\.deb$/);
  assert.notEqual(cacheName(entry), cacheName({ ...entry, sha256: 'cd'.repeat(32) }));
});

test('takes mirrors from the environment; ignores an empty one and a slash at the end', () => {
  assert.equal(mirrors({}).main, 'http://deb.debian.org/debian');
  assert.equal(mirrors({ KMEND_MIRROR: '' }).main, 'http://deb.debian.org/debian');
  const named = mirrors({ KMEND_MIRROR: 'http://a/debian//', KMEND_SECURITY_MIRROR: 'http://b/' });
  assert.deepEqual([named.main, named.security], ['http://a/debian', 'http://b']);
});

test('reads the files of the kernel’s source package, and no others', () => {
  const files = (names: readonly string[]) => names.map((name) => `\n ${HASH} 1234 ${name}`).join('');
  const source = (name: string, names: readonly string[]) =>
    `Package: ${name}\nVersion: 6.12.118-1\nChecksums-Sha1:\n 00 1 linux.dsc\nChecksums-Sha256:${files(names)}\nDirectory: pool/main/l/linux\n`;
  const text = [
    source('less', ['less.debian.tar.xz']),
    source('linux', ['linux_6.12.118-1.debian.tar.xz', '../../linux.dsc']),
    source('linux-base', ['linux-base.dsc']),
  ].join('\n');
  const url = 'http://mirror/debian/pool/main/l/linux/linux_6.12.118-1.debian.tar.xz';
  const found = parseSources(text, 'http://mirror/debian');
  assert.deepEqual(found, [{ name: 'linux', version: '6.12.118-1', url, size: 1234, sha256: HASH, depends: '' }]);
  assert.match(found[0] === undefined ? '' : cacheName(found[0]), /^linux_6\.12\.118-1_[0-9a-f]{8}\.debian\.tar\.xz$/);
});
