export { type CompareRequest, compareObjects } from './compare-objects.ts';
export type * from './model.ts';
