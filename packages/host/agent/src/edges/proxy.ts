/**
 * Has every connection of this process go through the proxy that the settings name (names as curl has them); none where
 * they are empty. Node's own module is asked for in this way because an import of it would load all of its HTTP
 * clients, which takes as long as the rest of a start.
 */
export function useProxy(settings: Readonly<Record<string, string>>): void {
  if (Object.keys(settings).length > 0) process.getBuiltinModule('node:http').setGlobalProxyFromEnv({ ...settings });
}
