// Keeps what a page shows up to date: by the stream of a campaign, or by asking again. Nothing is asked
// while nobody looks: a hidden tab holds no connection, of which browsers have few.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, Problem } from "./api";
import { login, token, useWatched } from "./session";
import type { LiveStatus } from "./types";

/** How long to wait before asking a service again that is busy. */
const BUSY_MS = 1500;

export interface Asked<T> { data: T | null; problem: Problem | null; again: () => Promise<void> }

/** Asks for an address, and again after so many milliseconds if any are given. No address: does not ask. */
export function useGet<T>(path: string | null, everyMs = 0): Asked<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; problem: Problem | null }>({ key: null, data: null, problem: null });
  const given = useWatched(token);
  const account = useWatched(login);
  // What one was told is nobody else's.
  const key = path === null ? null : `${given} ${account?.userId ?? ""} ${path}`;
  const wake = useRef<() => Promise<void>>(async () => undefined);
  useEffect(() => {
    if (path === null) { setState({ key, data: null, problem: null }); return; }
    const stop = new AbortController();
    let timer = 0;
    const round = async () => {
      clearTimeout(timer);
      let pause = everyMs;
      if (!document.hidden) {
        try {
          const data = await get<T>(path, { signal: stop.signal });
          if (!stop.signal.aborted) setState({ key, data, problem: null });
        } catch (error) {
          if (stop.signal.aborted) return;
          if (!(error instanceof Problem)) throw error;
          // Somebody else is being answered, and it is said when to come back.
          if (error.code === "BUSY") pause = BUSY_MS;
          // Asking again would not help, and each time is written down.
          if (error.status === 403) pause = 0;
          setState((before) => ({ key, data: before.key === key ? before.data : null, problem: error }));
        }
      }
      if (pause > 0 && !stop.signal.aborted) timer = window.setTimeout(round, pause);
    };
    wake.current = round;
    const shown = () => { if (!document.hidden && everyMs > 0) void round(); };
    document.addEventListener("visibilitychange", shown);
    void round();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
    };
  }, [key, everyMs]);
  const again = useCallback(() => wake.current(), []);
  const current = state.key === key;
  return { data: current ? state.data : null, problem: current ? state.problem : null, again };
}

/** One second of a campaign. */
export interface Tick { at: number; decided: number; committed: number | null; latency: number | null; left: number | null }

export interface Watching { status: LiveStatus | null; ticks: Tick[]; connected: boolean }

const TICKS_MAX = 300;
const RETRY_MS = 2000;
/** More seconds than this without an event, and the graph has a gap. */
const GAP_SECONDS = 3;
/** Rates are means of so many seconds. */
const WINDOW_SECONDS = 5;

/** The live status of a campaign, and the last five minutes of it as far as this page has seen them. */
export function useStream(campaign: number): Watching {
  const [watching, setWatching] = useState<Watching>({ status: null, ticks: [], connected: false });
  useEffect(() => {
    let source: EventSource | null = null;
    let timer = 0;
    // What was committed by when, as far back as the service's own averages go.
    let before: { at: number; success: number }[] = [];
    const heard = (event: MessageEvent<string>) => {
      const status = JSON.parse(event.data) as LiveStatus;
      const at = Date.now() / 1000;
      const last = before[before.length - 1];
      if (last && at - last.at > GAP_SECONDS) before = [];
      before = [...before, { at, success: status.successCount }].filter((one) => at - one.at < WINDOW_SECONDS + 0.5);
      const first = before[0];
      const passed = first ? at - first.at : 0;
      const committed = first && passed > 0.5 ? Math.max(0, (status.successCount - first.success) / passed) : null;
      const { tps, avgLatencyMs, processed } = status.lastFiveSeconds;
      const tick: Tick = { at, decided: tps, committed, latency: processed > 0 ? avgLatencyMs : null, left: status.currentStock };
      setWatching((seen) => ({ status, ticks: [...seen.ticks, tick].slice(-TICKS_MAX), connected: true }));
    };
    const open = () => {
      clearTimeout(timer);
      source?.close();
      if (document.hidden) return;
      source = new EventSource(`/api/campaigns/${campaign}/stream`);
      source.addEventListener("status", heard);
      source.onerror = () => {
        setWatching((seen) => ({ ...seen, connected: false }));
        // A browser gives up where the answer is a refusal: there was no seat, or there is no such campaign.
        if (source?.readyState === EventSource.CLOSED) timer = window.setTimeout(open, RETRY_MS);
      };
    };
    const seen = () => {
      if (!document.hidden) { open(); return; }
      source?.close();
      before = [];
      setWatching((state) => ({ ...state, connected: false }));
    };
    setWatching({ status: null, ticks: [], connected: false });
    open();
    document.addEventListener("visibilitychange", seen);
    return () => {
      clearTimeout(timer);
      source?.close();
      document.removeEventListener("visibilitychange", seen);
    };
  }, [campaign]);
  return watching;
}

/** Re-renders each so many milliseconds: for countdowns. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now + drift.ms;
}

/** How far the service's clock is ahead of this machine's. */
const drift = { ms: 0 };
export async function learnDrift(): Promise<void> {
  const began = Date.now();
  try {
    const { epochMillis } = await get<{ epochMillis: number }>("/api/time", { as: null });
    drift.ms = epochMillis - (began + Date.now()) / 2;
  } catch { /* then it is taken to be none */ }
}
