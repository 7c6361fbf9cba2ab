/** Where the agent keeps things; docs/agent.md lists them for people. */
export const paths = {
  config: '/etc/kmend-agent/config.json',
  configDirectory: '/etc/kmend-agent/config.d',
  trustedRoot: '/etc/kmend-agent/root.json',
  /** 0700, survives reboots. */
  state: '/var/lib/kmend-agent',
  identity: '/var/lib/kmend-agent/identity.json',
  journal: '/var/lib/kmend-agent/journal.json',
  repository: '/var/lib/kmend-agent/repository',
  /** 0700, gone with the boot. */
  runtime: '/run/kmend-agent',
  observed: '/run/kmend-agent/observed.json',
  socket: '/run/kmend-agent/control.sock',
  lock: '/run/kmend-agent/lock',
} as const;
