export { type Choice, CORE } from './choose.ts';
export { Coverage, type CoverageOptions } from './coverage.ts';
export { type MutantPlan, type MutantTable, mutantTable, mutantText } from './mutants.ts';
export { WANTED_RAN } from './ran.ts';
export { loadedText, type Summary } from './report.ts';
export type { Surroundings } from './surroundings.ts';
export type { Together } from './together.ts';
