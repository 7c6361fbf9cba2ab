export * from './api.ts';
export * from './host.ts';
export * from './livepatch.ts';
export * from './policy.ts';
export * from './proof.ts';
export * from './repository.ts';
export * from './stack.ts';
export * from './values.ts';
