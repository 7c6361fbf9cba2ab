export { type ExitCode, exitCodes } from './error.ts';
export { type Outcome, runProgram } from './program.ts';
