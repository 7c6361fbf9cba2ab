export { makeAptRoot } from './apt-root.ts';
export { cpuMs } from './cpu.ts';
export { describeFuzz, type FuzzOptions, type FuzzOutcome, fuzz } from './fuzz.ts';
export { type Field, mutateBytes, mutateField, mutateLength } from './mutate.ts';
export { Random } from './random.ts';
