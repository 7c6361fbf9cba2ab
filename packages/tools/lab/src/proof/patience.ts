/**
 * Milliseconds for one command in the guest: three times what the lab allows otherwise. The load starves an emulated
 * guest, and a command that was merely slow would be recorded as the livepatch's failure.
 */
export const PATIENCE_MS = 180_000;
