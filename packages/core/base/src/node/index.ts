export { systemClock } from './clock.ts';
export { EdgeError, type EdgeErrorCode } from './error.ts';
export { exists, syncDirectory, writeFileAtomic } from './files.ts';
export { sha256, sha256File } from './hash.ts';
export { brokenLimit, limitedCommand } from './limits.ts';
export { type LockOptions, withLock } from './lock.ts';
export { type Places, places } from './places.ts';
export { bashArguments, cleanEnvironment, limitedRun, run, runOk } from './process.ts';
export { withExclusiveUse, withSharedUse } from './use.ts';
