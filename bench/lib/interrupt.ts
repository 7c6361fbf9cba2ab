/** Aborted by SIGINT and SIGTERM; a second one ends the process at once. */
export function interruptible(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => stop.abort(new Error(`interrupted by ${name}`)));
  return stop.signal;
}
