/** Where `.rodata` of a made-up vmlinux lies in its file, and is linked to. */
const RODATA_AT = 0x1000;
export const RODATA_ADDRESS = 0xffff_ffff_8200_0000n;
const SHT_PROGBITS = 1;
const SHT_STRTAB = 3;
const SHT_NOTE = 7;

/** A vmlinux with nothing but read-only data and its build id (`buildId` in hex; none: without the note). */
export function makeVmlinux(rodata: Uint8Array, buildId?: string): Buffer {
  const names = Buffer.from('\0.rodata\0.notes\0.shstrtab\0', 'latin1');
  const note = noteOf(buildId ?? '');
  const noteAt = RODATA_AT + rodata.length;
  const namesAt = noteAt + note.length;
  const headersAt = Math.ceil((namesAt + names.length) / 8) * 8;
  const file = Buffer.alloc(headersAt + 4 * 64);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(62, 18); // x86-64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(64n, 32);
  file.writeBigUInt64LE(BigInt(headersAt), 40);
  for (const [at, value] of [
    [52, 64],
    [54, 56],
    [56, 1],
    [58, 64],
    [60, 4],
    [62, 3],
  ] as const) {
    file.writeUInt16LE(value, at);
  }
  file.writeUInt32LE(1, 64); // PT_LOAD
  file.writeBigUInt64LE(BigInt(RODATA_AT), 64 + 8);
  file.writeBigUInt64LE(RODATA_ADDRESS, 64 + 16);
  file.writeBigUInt64LE(BigInt(rodata.length), 64 + 32);
  file.writeBigUInt64LE(BigInt(rodata.length), 64 + 40);
  file.set(rodata, RODATA_AT);
  file.set(note, noteAt);
  file.set(names, namesAt);
  const section = (index: number, name: string, type: number, at: number, size: number, address: bigint): void => {
    const header = headersAt + index * 64;
    file.writeUInt32LE(names.indexOf(`${name}\0`), header);
    file.writeUInt32LE(type, header + 4);
    file.writeBigUInt64LE(address === 0n ? 0n : 2n, header + 8); // SHF_ALLOC
    file.writeBigUInt64LE(address, header + 16);
    file.writeBigUInt64LE(BigInt(at), header + 24);
    file.writeBigUInt64LE(BigInt(size), header + 32);
    file.writeBigUInt64LE(1n, header + 48);
  };
  section(1, '.rodata', SHT_PROGBITS, RODATA_AT, rodata.length, RODATA_ADDRESS);
  section(2, '.notes', SHT_NOTE, noteAt, buildId === undefined ? 0 : note.length, 0n);
  section(3, '.shstrtab', SHT_STRTAB, namesAt, names.length, 0n);
  return file;
}

function noteOf(id: string): Buffer {
  const content = Buffer.from(id, 'hex');
  const header = Buffer.alloc(12);
  header.writeUInt32LE(4, 0);
  header.writeUInt32LE(content.length, 4);
  header.writeUInt32LE(3, 8); // NT_GNU_BUILD_ID
  return Buffer.concat([header, Buffer.from('GNU\0', 'latin1'), content]);
}

/** A bzImage around a packed payload (x86 boot protocol 2.15). */
export function makeBzImage(payload: Uint8Array): Buffer {
  const setupSectors = 3;
  const payloadOffset = 0x40;
  const start = (setupSectors + 1) * 512 + payloadOffset;
  const image = Buffer.alloc(start + payload.length + 512);
  image[0x1f1] = setupSectors;
  image.writeUInt32LE(0x53726448, 0x202);
  image.writeUInt16LE(0x20f, 0x206);
  image.writeUInt32LE(payloadOffset, 0x248);
  image.writeUInt32LE(payload.length, 0x24c);
  image.set(payload, start);
  return image;
}

/** What the kernel's build appends to every payload but gzip's: the unpacked size. */
export function withSize(packed: Uint8Array, size: number): Buffer {
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(size);
  return Buffer.concat([packed, tail]);
}
