/** For tests outside this package. */
export { decodeInstruction } from '../object/instructions.ts';
export { compiled } from './gcc.ts';
