/** Version of the agent; the package builder takes it from here. */
export const AGENT_VERSION = '0.1.0';
