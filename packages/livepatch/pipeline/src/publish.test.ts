import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublishOptions, PublishOutcome } from '@kmend/server';
import { publishLivepatch } from './publish.ts';

test('says what was published, and the reason for less than a whole proof only if one was given', async () => {
  const livepatch = {
    id: '0123456789ab',
    kernel: { release: '6.1.0-47-amd64', buildId: 'ab'.repeat(20) },
    fixes: [{ id: 'CVE-2026-1' }, { id: 'CVE-2026-2' }],
  };
  const asked: PublishOptions[] = [];
  const api = {
    publish: async (options: PublishOptions): Promise<PublishOutcome> => {
      asked.push(options);
      const publication = { proven: false, artifact: { livepatch } };
      // Only what is read of a publication: a whole one needs a signed repository.
      return { serial: 7, snapshotVersion: 3, timestampVersion: 4, publication } as unknown as PublishOutcome;
    },
  };
  const order = { livepatch: 'out', channel: 'canary', keys: 'keys', unproven: true } as const;
  const published = await publishLivepatch(api, order);
  assert.deepEqual(published, {
    serial: 7,
    channel: 'canary',
    id: '0123456789ab',
    release: '6.1.0-47-amd64',
    buildId: 'ab'.repeat(20),
    fixes: ['CVE-2026-1', 'CVE-2026-2'],
    proven: false,
    snapshotVersion: 3,
    timestampVersion: 4,
  });
  assert.equal((await publishLivepatch(api, { ...order, reason: 'urgent' })).reason, 'urgent');
  assert.deepEqual(asked[0], order);
});
