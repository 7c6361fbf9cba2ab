import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSymvers } from './symvers.ts';
import { hasCode } from './testing/errors.ts';

test('reads exports of vmlinux and of modules, by the name in /proc/modules', () => {
  const exports = parseSymvers(
    [
      '0x5d3a4e1c\t_printk\tvmlinux\tEXPORT_SYMBOL\t',
      '0x01234567\tnf_register\tnet/netfilter/nf-tables\tEXPORT_SYMBOL_GPL\t',
      '0x00000000\tdma_buf_get\tvmlinux\tEXPORT_SYMBOL_GPL\tDMA_BUF',
      '',
    ].join('\n'),
  );
  assert.deepEqual(
    ['_printk', 'nf_register', 'dma_buf_get'].map((name) => exports.get(name)),
    [
      { name: '_printk', crc: '0x5d3a4e1c', object: 'vmlinux', gplOnly: false, namespace: '' },
      { name: 'nf_register', crc: '0x01234567', object: 'nf_tables', gplOnly: true, namespace: '' },
      { name: 'dma_buf_get', crc: '0x00000000', object: 'vmlinux', gplOnly: true, namespace: 'DMA_BUF' },
    ],
  );
});

test('does not find what is no export', () => {
  const exports = parseSymvers('0x5d3a4e1c\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n');
  assert.deepEqual(
    [exports.has('printk'), exports.get('printk'), exports.has('_printk'), exports.size],
    [false, undefined, true, 1],
  );
});

test('rejects lines that are no exports', () => {
  for (const line of [
    'garbage',
    '0x5d3a4e1c\t_printk\tvmlinux',
    '0x5d3a\t_printk\tvmlinux\tEXPORT_SYMBOL\t',
    '5d3a4e1c\t_printk\tvmlinux\tEXPORT_SYMBOL\t',
    '0x5d3a4e1c\t\tvmlinux\tEXPORT_SYMBOL\t',
    '0x5d3a4e1c\t_printk\tvmlinux\tSOMETHING\t',
    '<html>\t<body>\t404\tnot found',
  ]) {
    assert.throws(() => parseSymvers(`${line}\n`), hasCode('symvers-garbage'), line);
  }
});
