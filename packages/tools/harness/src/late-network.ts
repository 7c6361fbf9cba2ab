/**
 * A systemd unit: a network that takes a moment, ordered as Debian's networking.service. A mount with `_netdev` waits
 * for it once it is enabled.
 */
export const LATE_NETWORK = `[Unit]
DefaultDependencies=no
After=local-fs.target network-pre.target
Before=network.target network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sleep 2
[Install]
WantedBy=network-online.target
`;
