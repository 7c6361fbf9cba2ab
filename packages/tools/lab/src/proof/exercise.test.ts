import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeAreas } from './exercise.ts';

test('suspects only what failed, not what the guest lacks', () => {
  const of = { script: 'files', part: 'ext4' } as const;
  const work = { of, area: 'files:ext4' };
  const suspects = judgeAreas([
    { ...work, what: 'ext4', outcome: 'done' },
    { ...work, what: 'nfs', outcome: 'absent', why: 'no rpc.nfsd' },
    { ...work, what: 'smb', outcome: 'failed', why: 'status 1' },
  ]);
  assert.deepEqual(suspects, [{ area: of, name: 'files:ext4, smb', why: 'files:ext4, smb: status 1' }]);
});
