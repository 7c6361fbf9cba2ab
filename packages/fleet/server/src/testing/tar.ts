import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Header, pack } from 'tar-stream';
import type { TarStream } from '../client/pack-folder.ts';

/** A file of a tar archive, or whatever a header says; `data` besides. */
export type TarEntry = Partial<Header> & { readonly name: string; readonly data?: string | Buffer };

/** A tar archive of exactly these entries. */
export async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { data = '', ...header } of entries) archive.entry(header, data);
  archive.finalize();
  return buffer(Readable.from(archive));
}

export function streamOf(bytes: Buffer): TarStream {
  return { stream: new Blob([new Uint8Array(bytes)]).stream(), size: bytes.length };
}

const SIGNED = '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n';

/** Looks like an APT repository; it is not verified here. */
export function aptEntries(text: string, more: readonly TarEntry[] = []): TarEntry[] {
  return [
    { name: 'dists/updates/InRelease', data: `${SIGNED}${text}` },
    { name: 'dists/updates/main/binary-amd64/Packages', data: `Package: ${text}\n` },
    { name: `pool/main/${text}_1_amd64.deb`, data: `deb of ${text}` },
    ...more,
  ];
}

export function dnfEntries(text: string): TarEntry[] {
  return [
    { name: 'repodata/repomd.xml', data: `<?xml version="1.0"?><repomd>${text}</repomd>` },
    { name: 'repodata/repomd.xml.asc', data: '-----BEGIN PGP SIGNATURE-----\n' },
    { name: `packages/${text}-1.x86_64.rpm`, data: `rpm of ${text}` },
  ];
}
