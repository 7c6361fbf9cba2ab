/** Of this `kmend`; proofs name it. */
export const VERSION = '0.1.0';
