import type { Duplex } from 'node:stream';

/**
 * Raw bytes into the guest, many times faster than through the guest agent, which takes a message byte by byte. The
 * reader in the guest must take exactly what was written; where that is in doubt the channel is spoilt until the next
 * boot.
 */
export class DataChannel {
  readonly #channel: Duplex;
  #turn: Promise<unknown> = Promise.resolve();
  #spoilt = false;

  constructor(channel: Duplex) {
    this.#channel = channel;
    // The end of the channel is told by the process it belongs to.
    channel.on('error', () => {});
    channel.resume();
  }

  /** Whether `send` can still be used. */
  get usable(): boolean {
    return !this.#spoilt;
  }

  /**
   * Writes `bytes` while `read` has the guest read them; one such transfer at a time. When `read` rejects, it is
   * unknown how much the guest took, and the channel is not used again.
   */
  send<T>(bytes: Uint8Array, read: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      this.#channel.write(bytes);
      try {
        return await read();
      } catch (error) {
        this.#spoilt = true;
        throw error;
      }
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
