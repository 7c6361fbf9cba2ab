/** The agent's processes, units and files as the campaign finds them on a host (docs/agent.md, "Files and units"): one place to change. */
export const layout = {
  node: '/usr/lib/kmend-agent/node',
  /** Units that run the agent's code: the faults' library is loaded into all of them. */
  units: ['kmend-agent.service', 'kmend-agent-boot.service', 'kmend-agent-shutdown.service'],
  /** What is started again after a fault, where systemd does not do it by itself. */
  resident: ['kmend-agent.service'],
  /** What one host has running once, as `kmend-agent WORD`. */
  once: ['run'],
  /** The first argument of the process that loads at boot. */
  boot: 'boot',
  state: '/var/lib/kmend-agent',
  runtime: '/run/kmend-agent',
  /** Whatever the agent does below these is a step at which a fault may strike. */
  watched: ['/var/lib/kmend-agent', '/run/kmend-agent', '/etc/kmend-agent', '/sys/kernel/livepatch'],
  /** What was downloaded and verified. */
  caches: ['/var/lib/kmend-agent/repository'],
  journal: '/var/lib/kmend-agent/journal.json',
  /** Which calls of a traced life belong together: whose they are, and patterns as the faults' library takes them. */
  steps: {
    /** The journal, the staged module, and what is asked of the kernel: what cannot be taken back. */
    journalled: {
      role: 'run',
      op: '[!m]*',
      path: '*/journal.json*|/var/lib/kmend-agent|*/load-*.ko|/sys/kernel/livepatch*',
    },
    /** The verified cache of whoever loads. */
    repository: { role: 'run', op: '*', path: '/var/lib/kmend-agent/repository*' },
    /** What was seen, kept for the status. */
    seen: { role: 'run', op: '[!m]*', path: '*/observed.json*|/run/kmend-agent' },
  },
} as const;

export type StepClass = keyof typeof layout.steps;
