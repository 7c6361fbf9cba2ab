import { startupSnapshot } from 'node:v8';

/** What Node keeps of the process that makes a snapshot. It is set again in each process that starts from it. */
const OF_THE_BUILDER = {
  pid: 1,
  execPath: '/usr/lib/kmend-agent/node',
  argv: [],
  argv0: 'node',
  execArgv: [],
} as const;

/**
 * Runs `main`; or, while Node makes a startup snapshot (`node --build-snapshot`), does `prepare` and leaves `main` to
 * the processes that start from it. The snapshot then holds nothing of the process that made it: the same program gives
 * the same bytes.
 */
export function startProgram(main: () => Promise<void>, prepare: () => Promise<unknown>): void {
  if (!startupSnapshot.isBuildingSnapshot()) {
    void main();
    return;
  }
  for (const [name, value] of Object.entries(OF_THE_BUILDER))
    Object.defineProperty(process, name, { value, configurable: true, writable: true, enumerable: true });
  startupSnapshot.setDeserializeMainFunction(() => void main());
  void prepare();
}
