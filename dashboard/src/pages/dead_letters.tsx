// Dead letters: search, view, replay and discard.
import { useState } from "preact/hooks";
import { get, post, query } from "../api";
import { dateTime, fromLocalInput, number, short } from "../format";
import { useGet } from "../live";
import type { DeadLetter, DeadLetterSource, Moved, Page } from "../types";
import { Dialog, Empty, Field, Input, Loading, More, Notice, Refused, Section, Table, useAction } from "../ui";
import { t } from "../words";

const SOURCES: DeadLetterSource[] = ["relay", "consumer:points", "consumer:coupons"];
interface Filter { source: string; campaignId: string; key: string; from: string; until: string }
const NOTHING: Filter = { source: "", campaignId: "", key: "", from: "", until: "" };
/** Most dead letters that one request changes. */
const MOVED_MAX = 1000;

const asked = (filter: Filter) => ({ source: filter.source, campaignId: filter.campaignId.trim(), key: filter.key.trim(), from: fromLocalInput(filter.from), until: fromLocalInput(filter.until) });

/** The selection, as the service expects it. */
type Selection = Record<string, unknown>;
function selectionOf(filter: Filter): Selection {
  const { source, campaignId, key, from, until } = asked(filter);
  if (!(source || campaignId || key || from || until)) return { all: true, limit: MOVED_MAX };
  return { ...(source ? { source } : {}), ...(campaignId ? { campaignId: Number(campaignId) } : {}), ...(key ? { key } : {}), ...(from ? { from } : {}), ...(until ? { until } : {}), limit: MOVED_MAX };
}

export function DeadLetters() {
  const [typed, setTyped] = useState(NOTHING);
  const [filter, setFilter] = useState(NOTHING);
  const [rest, setRest] = useState<Page<DeadLetter> | null>(null);
  const [opened, setOpened] = useState<DeadLetter | null>(null);
  const [moving, setMoving] = useState<{ selection: Selection; what: string } | null>(null);
  // A search by key is recorded in the audit log each time, so it is not repeated.
  const first = useGet<Page<DeadLetter>>(`/api/admin/dead-letters${query({ ...asked(filter), limit: 50 })}`, asked(filter).key ? 0 : 5000);
  const { problem, run } = useAction();
  const set = (change: Partial<Filter>) => setTyped((old) => ({ ...old, ...change }));
  const cursor = rest ? rest.nextCursor : first.data?.nextCursor;
  const more = () => run(async () => {
    const page = await get<Page<DeadLetter>>(`/api/admin/dead-letters${query({ ...asked(filter), limit: 50, cursor })}`);
    setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], nextCursor: page.nextCursor }));
  });
  const items = first.data ? [...first.data.items, ...(rest?.items ?? [])] : [];
  const input = (name: keyof Filter, label: string, kind: "text" | "number" | "time" = "text") => (
    <Field name={name} label={label} problem={first.problem}>
      {(attributes) => <Input {...attributes} kind={kind} value={typed[name]} onValue={(value) => set({ [name]: value })} />}
    </Field>
  );
  const none = JSON.stringify(filter) === JSON.stringify(NOTHING);
  return (
    <>
      <h1>{t("nav.deadLetters")}</h1>
      <p class="lead">{t("dead.lead")}</p>
      <form class="bar" onSubmit={(event) => { event.preventDefault(); setRest(null); setFilter(typed); }}>
        <Field name="source" label={t("dead.source")} problem={first.problem}>
          {(attributes) => (
            <select {...attributes} value={typed.source} onChange={(event) => set({ source: event.currentTarget.value })}>
              <option value="">{t("dead.anySource")}</option>
              {SOURCES.map((one) => <option key={one} value={one}>{t(`dead.source.${one}`)}</option>)}
            </select>
          )}
        </Field>
        {input("campaignId", t("campaign.number"))}{input("key", t("dead.key"))}{input("from", t("dead.from"), "time")}{input("until", t("dead.until"), "time")}
        <div class="buttons">
          <button class="primary">{t("search")}</button>
          <button type="button" onClick={() => { setTyped(NOTHING); setFilter(NOTHING); setRest(null); }}>{t("clear")}</button>
        </div>
      </form>
      <Refused problem={first.problem ?? problem} />
      <Section title={none ? t("dead.all") : t("dead.found")} aside={items.length > 0 && (
        <button onClick={() => setMoving({ selection: selectionOf(filter), what: none ? t("dead.whatAll") : t("dead.whatFound") })}>{t("dead.moveAll")}</button>
      )}>
        {!first.data ? (first.problem ? null : <Loading />) : items.length === 0 ? <Empty>{none ? t("dead.none") : t("dead.noneFound")}</Empty> : (
          <Letters items={items} onOpen={setOpened} />
        )}
        <More cursor={cursor} onMore={more} />
      </Section>
      {opened && !moving && <Letter letter={opened} onClose={() => setOpened(null)} onMove={() => setMoving({ selection: { eventId: opened.eventId, source: opened.source }, what: t("dead.whatOne", { id: short(opened.eventId) }) })} />}
      {moving && <Move {...moving} onClose={() => { setMoving(null); setOpened(null); setRest(null); first.again(); }} />}
    </>
  );
}

function Letters({ items, onOpen }: { items: DeadLetter[]; onOpen: (letter: DeadLetter) => void }) {
  const head = (
    <>
      <th scope="col">{t("dead.event")}</th><th scope="col">{t("dead.source")}</th><th scope="col" class="number">{t("campaign.number")}</th><th scope="col">{t("dead.error")}</th>
      <th scope="col" class="number">{t("dead.attempts")}</th><th scope="col">{t("dead.parkedAt")}</th>
    </>
  );
  return (
    <Table caption={t("nav.deadLetters")} head={head}>
      {items.map((one) => (
        <tr key={`${one.eventId}.${one.source}`}>
          <th scope="row"><button class="link" onClick={() => onOpen(one)} aria-label={t("dead.open", { id: one.eventId })}><code>{short(one.eventId)}</code></button><small>{one.eventType}</small></th>
          <td>{t(`dead.source.${one.source}`)}</td>
          <td class="number"><OfCampaign letter={one} /></td>
          <td class="wrap">{one.errorClass}<small>{one.error}</small></td>
          <td class="number">{number(one.attempts)}</td><td class="muted">{dateTime(one.parkedAt)}</td>
        </tr>
      ))}
    </Table>
  );
}

const OfCampaign = ({ letter }: { letter: DeadLetter }) => letter.campaignId === null ? <>–</> : <a href={`#/campaigns/${letter.campaignId}`}>{letter.campaignId}</a>;

function pretty(payload: string): string {
  try { return JSON.stringify(JSON.parse(payload), null, 2); } catch { return payload; }
}

function Letter({ letter, onClose, onMove }: { letter: DeadLetter; onClose: () => void; onMove: () => void }) {
  // Lists have no records: each is loaded separately, and recorded in the audit log.
  const { data, problem } = useGet<DeadLetter>(`/api/admin/dead-letters/${letter.eventId}${query({ source: letter.source })}`);
  const rows: [string, preact.ComponentChildren][] = [
    [t("dead.event"), <code>{letter.eventId}</code>], [t("dead.source"), t(`dead.source.${letter.source}`)], [t("dead.type"), letter.eventType],
    [t("campaign.number"), <OfCampaign letter={letter} />], [t("dead.key"), data?.key ? <code>{data.key}</code> : "–"],
    [t("dead.attempts"), number(letter.attempts)], [t("dead.error"), `${letter.errorClass}: ${letter.error}`],
    [t("dead.parkedAt"), dateTime(letter.parkedAt)], [t("dead.copiedAt"), letter.copiedAt ? dateTime(letter.copiedAt) : t("dead.notCopied")],
  ];
  return (
    <Dialog title={t("dead.one")} onClose={onClose} wide>
      <dl class="facts">{rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      <Refused problem={problem} />
      {!data ? (problem ? null : <Loading />) : data.payload === null
        ? <Notice tone="info"><p>{t("dead.masked")}</p></Notice>
        : <pre tabIndex={0} role="group" aria-label={t("dead.payload")}>{pretty(data.payload)}</pre>}
      <div class="buttons"><button class="primary" onClick={onMove}>{t("dead.move")}</button><button onClick={onClose}>{t("close")}</button></div>
    </Dialog>
  );
}

/** First a dry run, then the change. */
function Move({ selection, what, onClose }: { selection: Selection; what: string; onClose: () => void }) {
  const [tried, setTried] = useState<Moved | null>(null);
  const [done, setDone] = useState<{ action: "replay" | "discard"; moved: Moved } | null>(null);
  const { busy, problem, run } = useAction();
  const move = (action: "replay" | "discard", dryRun: boolean) => run(async () => {
    const moved = await post<Moved>(`/api/admin/dead-letters/${action}`, { ...selection, dryRun });
    if (dryRun) setTried(moved);
    else setDone({ action, moved });
  });
  return (
    <Dialog title={t("dead.move")} onClose={onClose}>
      <p>{what}</p>
      {done
        ? <Notice tone="good"><p>{t(`dead.done.${done.action}`, { n: number(done.moved.changed) })}</p></Notice>
        : tried && <Notice tone="info"><p>{t("dead.tried", { n: number(tried.matched) })}</p></Notice>}
      <Refused problem={problem} fields />
      <div class="buttons">
        {!done && <button class={tried ? "" : "primary"} disabled={busy} onClick={() => move("replay", true)}>{t("dead.dryRun")}</button>}
        {!done && tried && tried.matched > 0 && (
          <>
            <button class="primary" disabled={busy} onClick={() => move("replay", false)}>{t("dead.replay")}</button>
            <button class="danger" disabled={busy} onClick={() => move("discard", false)}>{t("dead.discard")}</button>
          </>
        )}
        <button onClick={onClose}>{done ? t("close") : t("cancel")}</button>
      </div>
      <p class="hint">{t("dead.hint")}</p>
    </Dialog>
  );
}
