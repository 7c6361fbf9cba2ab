/** The journal for those who look at a host from outside: they read what the agent wrote, and never write. */
export { emptyJournal, type Journal } from './journal.ts';
export { parseJournal } from './store.ts';
