export * from './hook-listings.ts';
export * from './kernel-logs.ts';
export * from './kernel-notes.ts';
