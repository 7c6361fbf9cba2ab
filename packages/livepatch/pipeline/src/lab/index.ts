/** What needs the lab. Apart from the rest, so that a build does not read the lab's code. */
export { openLab } from './open-lab.ts';
export { type ProofOrder, type ProofRecord, proveInLab } from './prove.ts';
