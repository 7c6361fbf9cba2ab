/**
 * Milliseconds of processor time that this process has used, all threads together. A limit on it holds on a busy
 * machine too, where the same work takes several times as long by the clock.
 */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
