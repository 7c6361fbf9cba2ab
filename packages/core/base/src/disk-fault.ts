export type DiskFaultCode = 'disk-full' | 'disk-read-only' | 'disk-failing';

/** A failure that lies in this machine's disk, whatever was being done with it. */
export interface DiskFault {
  readonly code: DiskFaultCode;
  /** What is the matter, to be followed by where: "no space left for". */
  readonly says: string;
  readonly hint: string;
}

/** By the names of errno(3). */
const FAULTS: readonly (readonly [RegExp, DiskFault])[] = [
  [
    /\b(ENOSPC|EDQUOT)\b/,
    { code: 'disk-full', says: 'no space left for', hint: 'free some space (or inodes, or quota) on that file system' },
  ],
  [
    /\bEROFS\b/,
    {
      code: 'disk-read-only',
      says: 'the file system is read-only under',
      hint: 'the kernel makes it so after errors: see `dmesg`, then have it checked and mounted for writing again',
    },
  ],
  [
    /\bEIO\b/,
    { code: 'disk-failing', says: 'the disk failed under', hint: 'see `dmesg` for what it says; replace the disk' },
  ],
];
/**
 * By SQLite's primary result codes (sqlite.org/rescode.html), which `node:sqlite` gives as `errcode`: SQLite says no
 * errno.
 */
const SQLITE: ReadonlyMap<number, DiskFaultCode> = new Map([
  [8, 'disk-read-only'],
  [10, 'disk-failing'],
  [13, 'disk-full'],
]);
const DEPTH = 8;

/**
 * Whether a failure, or anything that caused it, is the disk's. The message counts as well as the code: some libraries
 * flatten what caused an error to text.
 */
export function diskFault(error: unknown, depth = DEPTH): DiskFault | undefined {
  if (!(error instanceof Error) || depth === 0) return undefined;
  const { code, errcode } = error as NodeJS.ErrnoException & { readonly errcode?: number };
  const text = `${code} ${error.message}`;
  // The upper bits say more: 778 is 10, an I/O error, of a write.
  const sqlite = code === 'ERR_SQLITE_ERROR' && errcode !== undefined ? SQLITE.get(errcode & 0xff) : undefined;
  return (
    FAULTS.find(([pattern, fault]) => pattern.test(text) || fault.code === code || fault.code === sqlite)?.[1] ??
    diskFault(error.cause, depth - 1)
  );
}
