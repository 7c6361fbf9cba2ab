import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingFile } from './generated.ts';

const error = (name: string): string =>
  `In file included from security/selinux/hooks.c:92:\nsecurity/selinux/include/avc.h:20:10: fatal error: ${name}: No such file or directory\n   20 | #include "x"\n`;

test('finds the file that the compiler reports as missing', () => {
  assert.equal(missingFile(error('flask.h')), 'flask.h');
  assert.equal(missingFile(error('asn1/x509.asn1.h')), 'asn1/x509.asn1.h');
  assert.equal(missingFile("a.c:1:2: error: 'b' undeclared"), undefined);
});

test('ignores what is outside of the tree', () => {
  assert.equal(missingFile(error('/etc/passwd')), undefined);
  assert.equal(missingFile(error('../../../etc/passwd')), undefined);
});
