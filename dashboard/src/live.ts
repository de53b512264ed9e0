// Keeps the data of a page up to date: by the stream of a campaign, or by polling. A hidden tab does neither, because
// browsers allow few connections.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, Problem } from "./api";
import { login, token, useWatched } from "./session";
import type { LiveStatus } from "./types";

/** Pause before the next request to a busy service. */
const BUSY_MS = 1500;

export interface Asked<T> { data: T | null; problem: Problem | null; again: () => Promise<void> }

/** Loads a path, and again every given number of milliseconds. No path: loads nothing. */
export function useGet<T>(path: string | null, everyMs = 0): Asked<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; problem: Problem | null }>({ key: null, data: null, problem: null });
  const given = useWatched(token);
  const account = useWatched(login);
  // Data of another user is dropped.
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
          // The service is busy, and the response says when to retry.
          if (error.code === "BUSY") pause = BUSY_MS;
          // A retry would not help, and each one is recorded in the audit log.
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
/** After this number of seconds without an event the graph has a gap. */
const GAP_SECONDS = 3;
/** Rates are means of this number of seconds. */
const WINDOW_SECONDS = 5;

/** The live status of a campaign, and the last five minutes that this page has received. */
export function useStream(campaign: number): Watching {
  const [watching, setWatching] = useState<Watching>({ status: null, ticks: [], connected: false });
  useEffect(() => {
    let source: EventSource | null = null;
    let timer = 0;
    // The committed counts over the time of the service's own averages.
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
        // A browser does not retry after an error response: the limit of streams, or no such campaign.
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

/** Re-renders at this interval in milliseconds, for countdowns. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now + drift.ms;
}

/** The lead of the service's clock over this machine's. */
const drift = { ms: 0 };
export async function learnDrift(): Promise<void> {
  const began = Date.now();
  try {
    const { epochMillis } = await get<{ epochMillis: number }>("/api/time", { as: null });
    drift.ms = epochMillis - (began + Date.now()) / 2;
  } catch { /* then it counts as 0 */ }
}
