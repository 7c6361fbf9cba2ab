/** ELF notes as /sys/kernel/notes has them: one of another owner, then the build id (hex). */
export function kernelNotes(buildId: string): Buffer {
  const note = (name: string, type: number, data: Buffer): Buffer => {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(name.length + 1, 0);
    head.writeUInt32LE(data.length, 4);
    head.writeUInt32LE(type, 8);
    const pad = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
    return Buffer.concat([head, pad(Buffer.from(`${name}\0`)), pad(data)]);
  };
  return Buffer.concat([note('Linux', 257, Buffer.from([1])), note('GNU', 3, Buffer.from(buildId, 'hex'))]);
}
