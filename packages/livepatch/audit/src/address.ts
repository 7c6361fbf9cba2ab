/**
 * A kernel address as a number. Addresses of the kernel and of modules lie in the last 2 GiB
 * (Documentation/x86/x86_64/mm.rst) and are kept as negative numbers, counted from the end; per-cpu offsets are small
 * positive ones. Both are exact, and faster than bigint.
 */
export type Address = number;

export function addressOf(value: bigint): Address {
  return Number(BigInt.asIntN(64, value));
}

export function hex(address: Address): string {
  return `0x${BigInt.asUintN(64, BigInt(address)).toString(16)}`;
}

/** Where the simulation puts modules, and behind them the livepatch (MODULES_VADDR on x86-64). */
export const MODULES_START = -0x4000_0000;
export const LIVEPATCH_START = -0x1800_0000;
/** Per-cpu variables of modules lie behind those of the kernel; dynamic ones take from this chunk. */
export const PERCPU_START = 0x10_0000;

/** Index of the last element that is not above the value, or -1. */
export function lastNotAbove(sorted: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
