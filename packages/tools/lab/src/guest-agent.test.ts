import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { z } from 'zod';
import { LabError } from './error.ts';
import { GuestAgent, GuestAgentRefusal } from './guest-agent.ts';
import { createLineReader } from './lines.ts';

const requestSchema = z.object({ execute: z.string(), arguments: z.object({ id: z.number().optional() }) });
type Answer = (command: string) => string | undefined;

/** The guest's end of a channel: answers synchronisation by itself and everything else as told. */
function guest(answer: Answer): { channel: Duplex; commands: string[] } {
  const commands: string[] = [];
  const reader = createLineReader((line) => {
    const request = requestSchema.parse(JSON.parse(line));
    commands.push(request.execute);
    if (request.execute === 'guest-sync-delimited') {
      channel.push(Buffer.from(`\xff{"return":${request.arguments.id}}\n`, 'latin1'));
      return;
    }
    const text = answer(request.execute);
    if (text !== undefined) channel.push(`${text}\n`);
  });
  const channel: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      reader(chunk);
      done();
    },
  });
  return { channel, commands };
}

test('synchronises the channel once, and sends commands one after the other', async () => {
  const { channel, commands } = guest((command) => `{"return":"${command} done"}`);
  const agent = new GuestAgent(channel, 'kvm');
  const answers = await Promise.all([agent.execute('a', z.string()), agent.execute('b', z.string())]);
  assert.deepEqual(answers, ['a done', 'b done']);
  assert.deepEqual(commands, ['guest-sync-delimited', 'a', 'b']);
});

test('distinguishes a refusal from a wrong answer', async () => {
  const { channel } = guest((command) =>
    command === 'refused' ? '{"error":{"class":"GenericError","desc":"no such file"}}' : '{"return":7}',
  );
  const agent = new GuestAgent(channel, 'kvm');
  await assert.rejects(agent.execute('refused', z.string()), new GuestAgentRefusal('no such file'));
  await assert.rejects(agent.execute('wrong', z.string()), (error) => errorCode(error) === 'lab-guest-garbage');
  assert.equal(await agent.execute('right', z.number()), 7);
});

test('does not take a late answer for the next one', async () => {
  let held: string | undefined;
  const { channel, commands } = guest((command) => {
    if (command === 'slow') {
      held = '{"return":"late"}';
      return undefined;
    }
    return '{"return":"fresh"}';
  });
  const agent = new GuestAgent(channel, 'kvm');
  await assert.rejects(agent.execute('slow', z.string(), {}, 20), (error) => errorCode(error) === 'lab-guest-gone');
  const next = agent.execute('next', z.string());
  channel.push(`${held}\n`);
  assert.equal(await next, 'fresh');
  assert.deepEqual(commands, ['guest-sync-delimited', 'slow', 'guest-sync-delimited', 'next']);
});

test('fails waiting and new calls with the reason when the guest is gone', async () => {
  const { channel } = guest(() => undefined);
  const agent = new GuestAgent(channel, 'kvm');
  const waiting = agent.execute('forever', z.string());
  const queued = agent.execute('after', z.string());
  setImmediate(() => agent.end(new LabError('lab-guest-panic', 'kernel panic: test')));
  await assert.rejects(waiting, (error) => errorCode(error) === 'lab-guest-panic');
  await assert.rejects(queued, (error) => errorCode(error) === 'lab-guest-panic');
});
