export * from './hook-listings.ts';
export * from './kernel-logs.ts';
