import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uploadsBetween } from './changelog.ts';

const CHANGELOG = `linux (6.12.118-1) trixie-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.118
    - smb: client: validate the data area in SMB2_read() (CVE-2026-99272)
    - [amd64,arm64] ALSA: x86: hdmi: fix chmap array missing terminator entry
      of the driver (CVE-2026-99347, CVE-2026-99348)
    - Revert "net: advertise TCP MSS from the configured MTU, not the learned
      PMTU"
    - fs: check (twice)

  [ Salvatore Bonaccorso ]
  * Bump ABI to 118
  * New upstream release:
  * d/config: something (Closes: #1234)

 -- Salvatore Bonaccorso <carnil@debian.org>  Fri, 20 Nov 2026 08:21:37 +0100

linux (6.12.117-1) trixie; urgency=medium

  * netfilter: an older fix (CVE-2026-1111)

 -- Ben Hutchings <benh@debian.org>  Fri, 13 Nov 2026 08:21:37 +0100

linux (6.12.111-1) trixie; urgency=medium

  * not of the update (CVE-2026-2222)
`;

test('reads what the uploads between two versions name', () => {
  const uploads = uploadsBetween(CHANGELOG, '6.12.111-1', '6.12.118-1');
  assert.deepEqual(
    uploads.map(({ version, suite }) => [version, suite]),
    [
      ['6.12.118-1', 'trixie-security'],
      ['6.12.117-1', 'trixie'],
    ],
  );
  assert.deepEqual(uploads[0]?.items, [
    { title: 'smb: client: validate the data area in SMB2_read()', cves: ['CVE-2026-99272'], architectures: [] },
    {
      title: 'ALSA: x86: hdmi: fix chmap array missing terminator entry of the driver',
      cves: ['CVE-2026-99347', 'CVE-2026-99348'],
      architectures: ['amd64', 'arm64'],
    },
    {
      title: 'Revert "net: advertise TCP MSS from the configured MTU, not the learned PMTU"',
      cves: [],
      architectures: [],
      reverts: 'net: advertise TCP MSS from the configured MTU, not the learned PMTU',
    },
    { title: 'fs: check (twice)', cves: [], architectures: [] },
    { title: 'Bump ABI to 118', cves: [], architectures: [] },
    { title: 'd/config: something (Closes: #1234)', cves: [], architectures: [] },
  ]);
  assert.deepEqual(uploads[1]?.items, [
    { title: 'netfilter: an older fix', cves: ['CVE-2026-1111'], architectures: [] },
  ]);
});

test('finds nothing in what is no changelog, and stops where one is cut off', () => {
  assert.deepEqual(uploadsBetween('<html>not found</html>', '6.12.1-1', '6.12.2-1'), []);
  const cut = CHANGELOG.slice(0, CHANGELOG.indexOf('fix chmap'));
  assert.equal(uploadsBetween(cut, '6.12.111-1', '6.12.118-1')[0]?.items.length, 2);
});
