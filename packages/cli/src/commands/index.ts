import type { Register } from '../program.ts';
import { buildCommand } from './build.ts';
import { fixCommands } from './fix.ts';
import { hostCommands } from './host.ts';
import { kernelCommands } from './kernel.ts';
import { keyCommands } from './key.ts';
import { policyCommands } from './policy.ts';
import { publishCommand } from './publish.ts';
import { repoCommands, serverCommand } from './server.ts';

/** Every family of commands, in the order of the help text. */
export const registers: readonly Register[] = [
  kernelCommands,
  fixCommands,
  buildCommand,
  repoCommands,
  serverCommand,
  publishCommand,
  policyCommands,
  keyCommands,
  hostCommands,
];
