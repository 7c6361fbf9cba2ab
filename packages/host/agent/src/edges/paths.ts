/** Where the agent keeps things; docs/agent.md lists them for people. */
export const paths = {
  config: '/etc/kmend-agent/config.json',
  configDirectory: '/etc/kmend-agent/config.d',
  trustedRoot: '/etc/kmend-agent/root.json',
  /** While this file is there, nothing is loaded. */
  off: '/etc/kmend-agent/off',

  /** Of the fetcher alone (0700, user kmend-agent); nothing in it is believed by the loader. */
  fetcher: '/var/lib/kmend-agent/fetcher',
  identity: '/var/lib/kmend-agent/fetcher/identity.json',
  reports: '/var/lib/kmend-agent/fetcher/reports.json',
  /** What was fetched ahead, for a kernel that is not running yet. */
  ahead: '/var/lib/kmend-agent/fetcher/ahead.json',
  fetched: '/var/lib/kmend-agent/fetcher/repository',

  /** Of the loader (2750, root, group kmend-agent): survives reboots. */
  loader: '/var/lib/kmend-agent/loader',
  journal: '/var/lib/kmend-agent/loader/journal.json',
  repository: '/var/lib/kmend-agent/loader/repository',
  host: '/var/lib/kmend-agent/loader/host.json',

  /** Gone with the boot. */
  fetcherRuntime: '/run/kmend-agent/fetcher',
  contact: '/run/kmend-agent/fetcher/contact.json',
  idle: '/run/kmend-agent/fetcher/idle.json',
  fetcherLock: '/run/kmend-agent/fetcher/lock',
  loaderRuntime: '/run/kmend-agent/loader',
  /** The boot's own re-application is over. */
  booted: '/run/kmend-agent/loader/booted',
  observed: '/run/kmend-agent/loader/observed.json',
  /** For the packages' loader: what the agent loads or has in force in this boot (@kmend/rules, claim). */
  claim: '/run/kmend-agent/loader/claim',
  lock: '/run/kmend-agent/loader/lock',
  /** Root alone: every order. */
  loaderSocket: '/run/kmend-agent/loader.sock',
  /** Root and the fetcher: `consider` alone. */
  considerSocket: '/run/kmend-agent/consider.sock',
  /** Root alone: has the fetcher run in its sandbox. */
  commandSocket: '/run/kmend-agent/command.sock',
} as const;
