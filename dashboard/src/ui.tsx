// Components that all pages share.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Problem } from "./api";
import { number, stock } from "./format";
import { token } from "./session";
import type { State, Status } from "./types";
import { fieldProblem, problemText, t, word } from "./words";

export function Pill({ state }: { state: State | Status | string }) {
  return <span class={`pill is-${state.toLowerCase()}`}>{word(`state.${state.toLowerCase()}`, state)}</span>;
}

/** The share of the stock that is used. */
export function StockBar({ total, left, label }: { total: number | null; left: number | null; label: string }) {
  if (total === null || left === null) return <span class="muted">–</span>;
  const taken = total === 0 ? 1 : (total - left) / total;
  return (
    <span class="stockbar" role="img" aria-label={`${label}: ${stock(left)} / ${stock(total)}`}>
      <span class={left === 0 ? "is-out" : ""} style={{ width: `${taken * 100}%` }} />
    </span>
  );
}

/** A heading with something to its right. */
export function Section({ title, aside, children, id }: { title: string; aside?: ComponentChildren; children: ComponentChildren; id?: string }) {
  const own = useId();
  return (
    <section aria-labelledby={id ?? own}>
      <div class="head"><h2 id={id ?? own}>{title}</h2>{aside && <div class="aside">{aside}</div>}</div>
      {children}
    </section>
  );
}

/** A figure with its name above it. */
export function Figure({ name, children, note, tone }: { name: string; children: ComponentChildren; note?: ComponentChildren; tone?: string | undefined }) {
  return (
    <div class={`figure ${tone ? `is-${tone}` : ""}`}>
      <dt>{name}</dt>
      <dd>{children}{note && <small>{note}</small>}</dd>
    </div>
  );
}

export function Notice({ tone, children, live }: { tone: "info" | "good" | "warn" | "bad"; children: ComponentChildren; live?: boolean }) {
  return <div class={`notice is-${tone}`} role={live === false ? undefined : tone === "bad" ? "alert" : "status"}>{children}</div>;
}

/** The text of an error. Errors of fields are shown at the fields. */
export function Refused({ problem, fields = false }: { problem: Problem | null; fields?: boolean }) {
  if (!problem) return null;
  return (
    <Notice tone="bad">
      <p>{problemText(problem)} <code>{problem.code}</code></p>
      {fields && problem.errors.length > 0 && (
        <ul>{problem.errors.map((error) => <li key={error.field}><code>{error.field}</code> {fieldProblem(error.problem)}</li>)}</ul>
      )}
      {problem.wantsToken && token.value && <p><button class="link" onClick={() => { token.value = ""; }}>{t("token.another")}</button></p>}
    </Notice>
  );
}

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="empty">{children}</p>;
export const Loading = () => <p class="empty" role="status">{t("loading")}</p>;

/** A table with a caption for screen readers, which scrolls if it is too wide. */
export function Table({ caption, head, children, class: name = "" }: { caption: string; head: ComponentChildren; children: ComponentChildren; class?: string }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={caption}>
      <table class={name}>
        <caption class="hidden">{caption}</caption>
        <thead><tr>{head}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export interface FieldProps {
  name: string;
  label: string;
  hint?: ComponentChildren;
  /** The service's error for this field. */
  problem?: Problem | null;
  children: (input: { id: string; "aria-invalid": boolean; "aria-describedby": string | undefined; name: string }) => ComponentChildren;
  class?: string;
}

/** A labelled input, with its error below. */
export function Field({ name, label, hint, problem, children, class: kind = "" }: FieldProps) {
  const errors = problem?.errors.filter((error) => error.field === name) ?? [];
  const id = `field-${name}`;
  const wrong = errors.length > 0;
  const described = [hint ? `${id}-hint` : "", wrong ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class={`field ${wrong ? "is-wrong" : ""} ${kind}`}>
      <label for={id}>{label}</label>
      {children({ id, name, "aria-invalid": wrong, "aria-describedby": described || undefined })}
      {wrong && <p class="error" id={`${id}-error`}>{errors.map((error) => fieldProblem(error.problem)).join("; ")}</p>}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

type InputProps = Parameters<FieldProps["children"]>[0] & {
  value: string; onValue: (value: string) => void; kind?: "text" | "number" | "time"; disabled?: boolean | undefined;
};

/** An input for a line of text, a number or a time. */
export function Input({ kind = "text", onValue, ...rest }: InputProps) {
  const typed = (event: { currentTarget: HTMLInputElement }) => onValue(event.currentTarget.value);
  return kind === "time"
    ? <input type="datetime-local" step={1} onInput={typed} {...rest} />
    : <input type="text" inputMode={kind === "number" ? "numeric" : "text"} autocomplete="off" onInput={typed} {...rest} />;
}

/** A modal dialog; the browser holds the focus in it, and restores it afterwards. */
export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const from = document.activeElement;
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      shown?.close();
      if (!(from instanceof HTMLElement)) return;
      from.focus();
      // The browser may take the focus away once more when the dialog leaves the page.
      requestAnimationFrame(() => { if (document.activeElement === document.body) from.focus(); });
    };
  }, []);
  const outside = (event: Event) => { if (event.target === dialog.current) onClose(); };
  return (
    <dialog ref={dialog} class={wide ? "is-wide" : ""} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); onClose(); }} onClick={outside}>
      <div class="dialog">
        <div class="head"><h2 id={id}>{title}</h2><button class="quiet" onClick={onClose} aria-label={t("dismiss")}>✕</button></div>
        {children}
      </div>
    </dialog>
  );
}

/** Asks for confirmation of an irreversible action. */
export function Confirm({ title, children, yes, danger, onYes, onClose }: {
  title: string; children: ComponentChildren; yes: string; danger?: boolean; onYes: () => Promise<void>; onClose: () => void;
}) {
  const { busy, problem, run } = useAction();
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <Refused problem={problem} fields />
      <div class="buttons">
        <button class={danger ? "danger" : "primary"} disabled={busy} onClick={() => run(async () => { await onYes(); onClose(); })}>{yes}</button>
        <button onClick={onClose}>{t("cancel")}</button>
      </div>
    </Dialog>
  );
}

export interface Action { busy: boolean; problem: Problem | null; run: (work: () => Promise<void>) => Promise<void>; clear: () => void }

/** Runs one action at a time, and stores its error. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try { await work(); }
    catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
    } finally { setBusy(false); }
  };
  return { busy, problem, run, clear: () => setProblem(null) };
}

/** Counts as bars, the largest first. */
export function Counts({ counts, label, empty, of }: { counts: Record<string, number>; label: string; empty: string; of?: number }) {
  const entries = Object.entries(counts).filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  if (entries.length === 0) return <Empty>{empty}</Empty>;
  const most = of ?? Math.max(...entries.map(([, count]) => count));
  return (
    <table class="counts">
      <caption class="hidden">{label}</caption>
      <tbody>
        {entries.map(([name, count]) => (
          <tr key={name}>
            <th scope="row">{word(`code.${name}`, name)}</th>
            <td class="bar" aria-hidden="true"><span style={{ width: `${Math.max(0.5, (count / Math.max(most, 1)) * 100)}%` }} /></td>
            <td class="number">{number(count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function More({ cursor, onMore }: { cursor: string | null | undefined; onMore: () => void }) {
  return cursor ? <p class="more"><button onClick={onMore}>{t("more")}</button></p> : null;
}
