import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MaintenanceWindow, MaintenanceWindows, windowAt } from './windows.ts';

const at = (text: string): Date => new Date(text);

function state(windows: MaintenanceWindow[], now: string, zone = 'Europe/Berlin'): string {
  const { open, until, opens } = windowAt(MaintenanceWindows.parse(windows), at(now), zone);
  const time = (date: Date | null): string => (date === null ? 'never' : date.toISOString().slice(0, 16));
  return open ? `open until ${time(until)}` : `opens ${time(opens)}`;
}

const night: MaintenanceWindow[] = [{ from: '02:00', to: '05:00' }];

test('is always open without windows', () => {
  assert.deepEqual(windowAt([], at('2026-11-01T00:00:00Z'), 'UTC'), { open: true, until: null, opens: null });
});

test('opens at the first minute of a window and closes at its last', () => {
  assert.equal(state(night, '2026-06-10T23:59:59Z'), 'opens 2026-06-11T00:00');
  assert.equal(state(night, '2026-06-11T00:00:00Z'), 'open until 2026-06-11T03:00');
  assert.equal(state(night, '2026-06-11T02:59:59Z'), 'open until 2026-06-11T03:00');
  assert.equal(state(night, '2026-06-11T03:00:00Z'), 'opens 2026-06-12T00:00');
});

test('uses the time zone of the window, otherwise that of the host', () => {
  assert.equal(state(night, '2026-06-10T12:00:00Z', 'America/New_York'), 'opens 2026-06-11T06:00');
  const tokyo: MaintenanceWindow[] = [{ from: '02:00', to: '05:00', timeZone: 'Asia/Tokyo' }];
  assert.equal(state(tokyo, '2026-06-10T12:00:00Z', 'America/New_York'), 'opens 2026-06-10T17:00');
});

test('takes the day as the one on which the window begins', () => {
  const saturday: MaintenanceWindow[] = [{ days: ['sat'], from: '22:00', to: '06:00' }];
  assert.equal(state(saturday, '2026-11-08T03:00:00Z'), 'open until 2026-11-08T05:00');
  assert.equal(state(saturday, '2026-11-07T03:00:00Z'), 'opens 2026-11-07T21:00');
  assert.equal(state(saturday, '2026-11-08T05:00:00Z'), 'opens 2026-11-14T21:00');
});

test('joins windows that touch or overlap', () => {
  const pair: MaintenanceWindow[] = [
    { from: '01:00', to: '02:00' },
    { from: '02:00', to: '04:00' },
    { from: '03:30', to: '05:00' },
  ];
  assert.equal(state(pair, '2026-06-11T00:30:00Z', 'UTC'), 'opens 2026-06-11T01:00');
  assert.equal(state(pair, '2026-06-11T01:30:00Z', 'UTC'), 'open until 2026-06-11T05:00');
});

test('closes a whole-day window a day later, and never closes if all days are whole', () => {
  assert.equal(
    state([{ days: ['sun'], from: '00:00', to: '00:00' }], '2026-11-08T12:00:00Z'),
    'open until 2026-11-08T23:00',
  );
  assert.equal(state([{ from: '04:00', to: '04:00' }], '2026-11-08T12:00:00Z'), 'open until never');
  // A Sunday of 25 hours.
  assert.equal(
    state([{ days: ['sun'], from: '00:00', to: '00:00' }], '2026-10-25T22:30:00Z'),
    'open until 2026-10-25T23:00',
  );
});

test('moves a time that does not exist in spring to where the clock jumps to', () => {
  // Europe/Berlin, 29 March 2026: 02:00 is 03:00.
  assert.equal(state([{ from: '02:30', to: '05:00' }], '2026-03-29T00:00:00Z'), 'opens 2026-03-29T01:00');
  assert.equal(state([{ from: '01:30', to: '02:30' }], '2026-03-29T00:45:00Z'), 'open until 2026-03-29T01:00');
  assert.equal(state([{ from: '02:15', to: '02:45' }], '2026-03-29T00:00:00Z'), 'opens 2026-03-30T00:15');
  assert.equal(
    state([{ days: ['sun'], from: '02:15', to: '02:45' }], '2026-03-28T12:00:00Z'),
    'opens 2026-04-05T00:15',
  );
});

test('takes the first of two equal times in autumn', () => {
  // Europe/Berlin, 25 October 2026: 03:00 is 02:00 again.
  assert.equal(state([{ from: '02:30', to: '05:00' }], '2026-10-25T00:00:00Z'), 'opens 2026-10-25T00:30');
  assert.equal(state([{ from: '02:30', to: '05:00' }], '2026-10-25T01:10:00Z'), 'open until 2026-10-25T04:00');
  assert.equal(state([{ from: '01:00', to: '02:30' }], '2026-10-25T00:00:00Z'), 'open until 2026-10-25T00:30');
  assert.equal(state([{ from: '01:00', to: '02:30' }], '2026-10-25T01:00:00Z'), 'opens 2026-10-26T00:00');
});

test('keeps a window open that began at midnight when a clock is set back over midnight', () => {
  // America/St_Johns, 7 November 2010: 00:01 is 23:01 of the day before.
  const early: MaintenanceWindow[] = [{ from: '00:00', to: '02:00' }];
  assert.equal(state(early, '2010-11-07T03:00:00Z', 'America/St_Johns'), 'open until 2010-11-07T05:30');
});

test('handles leap day and the turn of the year', () => {
  assert.equal(
    state([{ days: ['tue'], from: '23:00', to: '01:00' }], '2028-02-29T12:00:00Z', 'UTC'),
    'opens 2028-02-29T23:00',
  );
  assert.equal(
    state([{ days: ['tue'], from: '23:00', to: '01:00' }], '2028-03-01T00:30:00Z', 'UTC'),
    'open until 2028-03-01T01:00',
  );
  assert.equal(
    state([{ days: ['thu'], from: '23:00', to: '01:00' }], '2027-01-01T00:30:00Z', 'UTC'),
    'open until 2027-01-01T01:00',
  );
});

test('refuses an invalid window with the reason', () => {
  const wrong: object[] = [
    { from: '2:00', to: '05:00' },
    { from: '02:00', to: '24:00' },
    { from: '02:00' },
    { days: [], from: '02:00', to: '05:00' },
    { days: ['monday'], from: '02:00', to: '05:00' },
    { from: '02:00', to: '05:00', timeZone: 'Europe/Nowhere' },
    { from: '02:00', to: '05:00', timezone: 'Europe/Berlin' },
  ];
  for (const window of wrong)
    assert.equal(MaintenanceWindows.safeParse([window]).success, false, JSON.stringify(window));
  assert.equal(MaintenanceWindows.safeParse(Array(51).fill(night[0])).success, false);
});

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
/** A zone, and a day with something odd about it in the middle of what is scanned. */
const odd: readonly [string, string][] = [
  ['Europe/Berlin', '2026-03-29'],
  ['Europe/Berlin', '2026-10-25'],
  ['America/New_York', '2026-03-08'],
  ['America/St_Johns', '2026-11-01'],
  // At a minute past midnight the clock went back into the day before.
  ['America/St_Johns', '2010-11-07'],
  ['Australia/Lord_Howe', '2026-04-05'],
  ['Australia/Lord_Howe', '2026-10-04'],
  ['America/Santiago', '2026-09-06'],
  ['Africa/Casablanca', '2026-02-15'],
  ['Asia/Kathmandu', '2027-01-01'],
  ['Pacific/Kiritimati', '2028-02-29'],
  ['Etc/GMT+12', '2026-12-31'],
  ['Pacific/Apia', '2011-12-30'],
];

/** Minute by minute what the clock on the wall shows, read from the runtime's Swedish dates. */
function scan(zone: string, from: number, to: number): { at: number; wall: number }[] {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
  const minutes: { at: number; wall: number }[] = [];
  for (let time = from; time < to; time += MINUTE) {
    minutes.push({ at: time, wall: Date.parse(`${format.format(time).replace(' ', 'T')}Z`) });
  }
  return minutes;
}

/** The minutes in which one of the windows is open, by following the clock through each of its days. */
function openMinutes(minutes: { at: number; wall: number }[], windows: MaintenanceWindow[]): Set<number> {
  const open = new Set<number>();
  const first = Math.floor((minutes[0]?.wall ?? 0) / DAY) + 1;
  const last = Math.floor((minutes.at(-1)?.wall ?? 0) / DAY) - 2;
  for (const { days, from, to } of windows) {
    for (let day = first; day <= last; day += 1) {
      const name = new Date(day * DAY).toLocaleDateString('en', { weekday: 'short', timeZone: 'UTC' }).toLowerCase();
      if (days !== undefined && !days.some((it) => it === name)) continue;
      const clock = (time: string): number => day * DAY + Date.parse(`1970-01-01T${time}Z`);
      const end = from < to ? clock(to) : clock(to) + DAY;
      const begins = minutes.findIndex((it) => it.wall >= clock(from));
      const ends = minutes.findIndex((it, index) => index >= begins && it.wall >= end);
      for (const { at } of minutes.slice(begins, ends)) open.add(at);
    }
  }
  return open;
}

for (const [zone, day] of odd) {
  test(`agrees with looking at the clock every minute in ${zone} around ${day}`, () => {
    let seed = Date.parse(day) + zone.length;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const time = (): string =>
      `0${random(random(2) === 0 ? 5 : 24)}`.slice(-2).concat(`:${['00', '15', '30', '45', '59'][random(5)]}`);
    const middle = Date.parse(day);
    const minutes = scan(zone, middle - 6 * DAY, middle + 22 * DAY);
    for (let round = 0; round < 6; round += 1) {
      const windows = Array.from({ length: 1 + random(3) }, () => {
        const named = (['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const).filter(() => random(3) === 0);
        return { from: time(), to: time(), ...(named.length === 0 ? {} : { days: named }) };
      });
      const open = openMinutes(minutes, windows);
      for (let look = 0; look < 16; look += 1) {
        const now = middle - DAY + random(3 * 1440) * MINUTE;
        const found = windowAt(windows, new Date(now), zone);
        const why = `${JSON.stringify(windows)} at ${new Date(now).toISOString()}`;
        assert.equal(found.open, open.has(now), why);
        let next = now;
        while (open.has(next) === found.open && next < now + 17 * DAY) next += MINUTE;
        const turns = found.open ? found.until : found.opens;
        if (found.open && next > now + 8 * DAY) assert.equal(turns, null, why);
        else assert.equal(turns?.toISOString(), new Date(next).toISOString(), why);
      }
    }
  });
}
