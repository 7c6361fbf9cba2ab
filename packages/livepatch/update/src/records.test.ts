import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRecord } from './records.ts';

/** A record as the kernel's CNA writes it, with an entry by commit and one by version. */
function record(changes: { id?: string; state?: string; product?: string; files?: readonly string[] } = {}): string {
  const {
    id = 'CVE-2026-99272',
    state = 'PUBLISHED',
    product = 'Linux',
    files = ['fs/smb/client/smb2pdu.c'],
  } = changes;
  const entry = { product, vendor: 'Linux', programFiles: files };
  const cna = { title: 'smb: client: validate', affected: [entry, { ...entry, defaultStatus: 'affected' }] };
  return JSON.stringify({ dataVersion: '5.1', cveMetadata: { cveId: id, state }, containers: { cna } });
}

test('reads the files of a record, once each', () => {
  const files = ['fs/smb/client/smb2pdu.c'];
  assert.deepEqual(readRecord(record()), { id: 'CVE-2026-99272', title: 'smb: client: validate', files });
});

test('reads a line of extracted facts', () => {
  const line = { id: 'CVE-2025-38627', state: 'PUBLISHED', title: 'f2fs', files: ['fs/f2fs/f2fs.h'], cvss: null };
  assert.deepEqual(readRecord(JSON.stringify(line)), { id: line.id, title: 'f2fs', files: line.files });
  assert.deepEqual(readRecord('{"id":"CVE-2025-1234","state":"PUBLISHED"}'), {
    id: 'CVE-2025-1234',
    title: '',
    files: [],
  });
});

test('says why a record is not used', () => {
  assert.equal(readRecord('not JSON'), 'unreadable');
  assert.equal(readRecord('{"cveMetadata": {"cveId": "CVE-1"}}'), 'unreadable');
  assert.equal(readRecord(record({ id: 'CVE-2026-1; rm' })), 'unreadable');
  assert.equal(readRecord(record({ product: 'Chrome' })), 'other-product');
  assert.equal(readRecord(record({ state: 'REJECTED' })), 'not-published');
  assert.equal(readRecord(record({ files: ['../../etc/passwd'] })), 'unsafe-file');
  assert.equal(readRecord(record({ files: ['/etc/passwd'] })), 'unsafe-file');
});
