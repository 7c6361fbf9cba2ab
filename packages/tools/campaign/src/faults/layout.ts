/**
 * The agent's processes, units and files as the campaign finds them on a host (docs/agent.md, "Files and units"): one
 * place to change.
 */
export const layout = {
  node: '/usr/lib/kmend-agent/node',
  /** Units that run the agent's code: the faults' library is loaded into all of them. */
  units: [
    'kmend-agent.service',
    'kmend-agent-report.service',
    'kmend-agent-command@.service',
    'kmend-loader.service',
    'kmend-agent-boot.service',
    'kmend-agent-boot-late.service',
    'kmend-agent-shutdown.service',
  ],
  /** What runs all the time. */
  resident: [
    'kmend-agent.service',
    'kmend-loader.socket',
    'kmend-loader-consider.socket',
    'kmend-agent-command.socket',
  ],
  /** What has to be started again to take up another configuration or another state folder. */
  acting: ['kmend-agent.service', 'kmend-loader.service'],
  /** What one host has running once, as `kmend-agent WORD`. */
  once: ['loader', 'boot'],
  /** The first argument of the process that loads at boot. */
  boot: 'boot',
  state: '/var/lib/kmend-agent',
  runtime: '/run/kmend-agent',
  /** Whatever the agent does below these is a step at which a fault may strike. */
  watched: ['/var/lib/kmend-agent', '/run/kmend-agent', '/etc/kmend-agent', '/sys/kernel/livepatch'],
  /** What was downloaded and verified: by who fetches, and again by who loads. */
  caches: ['/var/lib/kmend-agent/fetcher/repository', '/var/lib/kmend-agent/loader/repository'],
  journal: '/var/lib/kmend-agent/loader/journal.json',
  /** Which calls of a traced life belong together: whose they are, and patterns as the faults' library takes them. */
  steps: {
    /** The journal, the staged module, and what is asked of the kernel: what cannot be taken back. */
    journalled: {
      role: 'loader',
      op: '[!m]*',
      path: '*/journal.json*|/var/lib/kmend-agent/loader|*/load-*.ko|/sys/kernel/livepatch*',
    },
    /** The loader's verified cache. */
    repository: { role: 'loader', op: '*', path: '/var/lib/kmend-agent/loader/repository*' },
    /** All that the fetcher keeps: its cache, what it saw, what it reported; while a command runs it. */
    fetched: { role: 'fetcher-serve', op: '*', path: '*/kmend-agent/fetcher*' },
    /** What the loader saw, kept for the status. */
    seen: { role: 'loader', op: '[!m]*', path: '*/observed.json*|/run/kmend-agent/loader' },
  },
} as const;

export type StepClass = keyof typeof layout.steps;
