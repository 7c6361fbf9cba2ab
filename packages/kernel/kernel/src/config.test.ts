import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './config.ts';

test('reads options, and strings without quotes and escapes, and ignores comments', () => {
  const config = parseConfig(
    [
      '#',
      '# Automatically generated file; DO NOT EDIT.',
      'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"',
      'CONFIG_GCC_VERSION=120200',
      'CONFIG_LIVEPATCH=y',
      '# CONFIG_MODULE_SIG_FORCE is not set',
      'CONFIG_EMPTY=""',
      String.raw`CONFIG_QUOTED="a \"b\" \\c"`,
      'CONFIG_64BIT=y',
      'not an option',
      '',
    ].join('\n'),
  );
  assert.deepEqual(Object.fromEntries(config), {
    CONFIG_CC_VERSION_TEXT: 'gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0',
    CONFIG_GCC_VERSION: '120200',
    CONFIG_LIVEPATCH: 'y',
    CONFIG_EMPTY: '',
    CONFIG_QUOTED: String.raw`a "b" \c`,
    CONFIG_64BIT: 'y',
  });
  assert.equal(parseConfig('').size, 0);
});
