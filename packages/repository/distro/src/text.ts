/** Control, format and separator characters: none of them may reach a control file, a spec or a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A text from elsewhere, as one printable line. */
export function oneLine(text: string): string {
  return text.replace(UNPRINTABLE, ' ').replace(/\s+/g, ' ').trim();
}

/** Cut to `length` characters, with a mark where something was left out. */
export function shorten(text: string, length: number): string {
  const characters = [...text];
  return characters.length <= length
    ? text
    : `${characters
        .slice(0, length - 3)
        .join('')
        .trimEnd()}...`;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

function parts(date: Date): { day: string; month: string; dayOfMonth: string; year: string; time: string } {
  return {
    day: DAYS[date.getUTCDay()] ?? '',
    month: MONTHS[date.getUTCMonth()] ?? '',
    dayOfMonth: String(date.getUTCDate()).padStart(2, '0'),
    year: String(date.getUTCFullYear()),
    time: date.toISOString().slice(11, 19),
  };
}

/** As changelogs and Release files have it: `Sat, 28 Nov 2026 00:00:00 +0000`. */
export function mailDate(date: Date): string {
  const { day, month, dayOfMonth, year, time } = parts(date);
  return `${day}, ${dayOfMonth} ${month} ${year} ${time} +0000`;
}

/** As an RPM changelog has it: `Sat Nov 28 2026`. */
export function rpmDate(date: Date): string {
  const { day, month, dayOfMonth, year } = parts(date);
  return `${day} ${month} ${dayOfMonth} ${year}`;
}

/** Whole seconds since 1970. */
export function epochSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
