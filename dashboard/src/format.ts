// Numbers and times as people read them, in their language and their time zone.
import { language } from "./session";

const formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();
function cached<T extends Intl.NumberFormat | Intl.DateTimeFormat>(key: string, make: (lang: string) => T): T {
  const full = `${language.value}:${key}`;
  let format = formats.get(full);
  if (!format) { format = make(language.value); formats.set(full, format); }
  return format as T;
}

export const number = (value: number, digits = 0): string =>
  cached(`n${digits}`, (lang) => new Intl.NumberFormat(lang, { maximumFractionDigits: digits })).format(value);

/** Units of a stock that may be unlimited. */
export const stock = (value: number | null): string => (value === null ? "∞" : number(value));

/** With two significant digits below 10: 0.42, 4.2, 42, 4,200. */
export const measured = (value: number): string => number(value, value < 1 ? 2 : value < 100 ? 1 : 0);
export const millis = (value: number): string =>
  value >= 10_000 ? `${number(value / 1000, 1)} s` : `${measured(value)} ms`;
export const seconds = (value: number): string =>
  value < 10 ? `${number(value, 1)} s` : value < 120 ? `${number(value)} s` : value < 7200 ? `${number(value / 60)} min` : `${number(value / 3600, 1)} h`;
export const percent = (share: number): string =>
  cached("p", (lang) => new Intl.NumberFormat(lang, { style: "percent", maximumFractionDigits: 1 })).format(share);

export const dateTime = (at: string | Date): string =>
  cached("dt", (lang) => new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" })).format(new Date(at));
export const time = (at: string | Date): string =>
  cached("t", (lang) => new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })).format(new Date(at));
/** With milliseconds, where the order of two times matters. */
export const exactTime = (at: string): string =>
  cached("te", (lang) => new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" })).format(new Date(at));
export const shortDateTime = (at: string): string =>
  cached("sdt", (lang) => new Intl.DateTimeFormat(lang, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })).format(new Date(at));

/** Milliseconds as 1:02:03. */
export function clock(left: number): string {
  const all = Math.max(0, Math.ceil(left / 1000));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A time in the format of `<input type="datetime-local">`, and back. */
export function toLocalInput(at: string | null): string {
  if (!at) return "";
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
export function fromLocalInput(value: string): string | null {
  if (!value) return null;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? value : date.toISOString();
}

/** The date in a time zone, this number of days from now: 2030-01-31. */
export function day(zone: string, shift: number): string {
  const at = new Date(Date.now() + shift * 86_400_000);
  return new Intl.DateTimeFormat("en-CA", { timeZone: known(zone), year: "numeric", month: "2-digit", day: "2-digit" }).format(at);
}

/** The zone, or UTC if the browser has none of this name: what a user types is refused by the service, not by an exception. */
function known(zone: string): string {
  try { return new Intl.DateTimeFormat("en-CA", { timeZone: zone }).resolvedOptions().timeZone; } catch { return "UTC"; }
}

/** The beginning of an id that is too long to read. */
export const short = (id: string): string => (id.length > 13 ? id.slice(-12) : id);
