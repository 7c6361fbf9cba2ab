import type { Register } from '../program.ts';

/** Every family of commands, in the order of the help text. */
export const registers: readonly Register[] = [];
