export type { Clock } from './clock.ts';
export { type DiskFault, type DiskFaultCode, diskFault } from './disk-fault.ts';
export type { Edges } from './edges.ts';
export { errorCode, errorText, KmendError } from './error.ts';
export { parseJson } from './json.ts';
export type { Run, RunLimits, RunOptions, RunResult } from './process.ts';
export { type Progress, silentProgress } from './progress.ts';
export { createQueue } from './queue.ts';
export { escapedJson, shownJson, shownLine, shownLines, shownText } from './shown.ts';
