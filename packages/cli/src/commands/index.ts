import type { Register } from '../program.ts';
import { buildCommand } from './build.ts';
import { fixCommands } from './fix.ts';
import { kernelCommands } from './kernel.ts';

/** Every family of commands, in the order of the help text. */
export const registers: readonly Register[] = [kernelCommands, fixCommands, buildCommand];
