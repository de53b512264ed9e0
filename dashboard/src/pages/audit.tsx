// The audit log.
import { useEffect, useState } from "preact/hooks";
import { get, query } from "../api";
import { dateTime, fromLocalInput, short } from "../format";
import { useGet } from "../live";
import type { AuditEntry, Page } from "../types";
import { Empty, Field, Input, Loading, More, Refused, Table, useAction } from "../ui";
import { t, word } from "../words";

const ACTIONS = [
  "campaign.create", "campaign.change", "campaign.open", "campaign.pause", "campaign.close", "campaign.archive", "gate.rebuild",
  "participation.create", "participation.confirm", "participation.cancel", "participation.read", "participation.export",
  "history.read", "rewards.read", "allow_list.replace", "allow_list.remove", "allow_list.read",
  "account.create", "account.change", "account.password", "account.read",
  "dead_letter.replay", "dead_letter.discard", "dead_letter.read", "outbox.republish", "day.aggregate", "simulation.start", "simulation.cancel",
];
const NOTHING = { campaignId: "", actor: "", action: "", from: "", to: "" };

export function Audit({ campaign }: { campaign: string | null }) {
  const [typed, setTyped] = useState({ ...NOTHING, campaignId: campaign ?? "" });
  const [filter, setFilter] = useState(typed);
  const [rest, setRest] = useState<Page<AuditEntry> | null>(null);
  const { problem, run } = useAction();
  const values = { ...filter, from: fromLocalInput(filter.from), to: fromLocalInput(filter.to), limit: 50 };
  const first = useGet<Page<AuditEntry>>(`/api/admin/audit${query(values)}`, 5000);
  useEffect(() => setRest(null), [filter]);
  const cursor = rest ? rest.nextCursor : first.data?.nextCursor;
  const more = () => run(async () => {
    const page = await get<Page<AuditEntry>>(`/api/admin/audit${query({ ...values, cursor })}`);
    setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], nextCursor: page.nextCursor }));
  });
  const set = (change: Partial<typeof typed>) => setTyped((old) => ({ ...old, ...change }));
  const input = (name: keyof typeof typed, label: string, kind: "text" | "number" | "time" = "text") => (
    <Field name={name} label={label} problem={first.problem}>
      {(attributes) => <Input {...attributes} kind={kind} value={typed[name]} onValue={(value) => set({ [name]: value })} />}
    </Field>
  );
  return (
    <>
      <h1>{t("nav.audit")}</h1>
      <p class="lead">{t("audit.lead")}</p>
      <form class="bar" onSubmit={(event) => { event.preventDefault(); setFilter({ ...typed }); }}>
        {input("campaignId", t("campaign.number"))}{input("actor", t("audit.actor"))}
        <Field name="action" label={t("audit.action")} problem={first.problem}>
          {(attributes) => (
            <select {...attributes} value={typed.action} onChange={(event) => set({ action: event.currentTarget.value })}>
              <option value="">{t("all")}</option>
              {ACTIONS.map((one) => <option key={one} value={one}>{word(`action.${one}`, one)}</option>)}
            </select>
          )}
        </Field>
        {input("from", t("audit.from"), "time")}{input("to", t("audit.to"), "time")}
        <div class="buttons"><button class="primary">{t("search")}</button><button type="button" onClick={() => { setTyped(NOTHING); setFilter(NOTHING); }}>{t("clear")}</button></div>
      </form>
      <Refused problem={first.problem ?? problem} />
      {!first.data ? (first.problem ? null : <Loading />) : <Entries items={[...first.data.items, ...(rest?.items ?? [])]} />}
      <More cursor={cursor} onMore={more} />
    </>
  );
}

function Entries({ items }: { items: AuditEntry[] }) {
  if (items.length === 0) return <Empty>{t("audit.none")}</Empty>;
  const head = (
    <>
      <th scope="col">{t("audit.at")}</th><th scope="col">{t("audit.action")}</th><th scope="col" class="number">{t("campaign.number")}</th>
      <th scope="col">{t("audit.changed")}</th><th scope="col">{t("audit.actor")}</th><th scope="col" class="wide-only">{t("audit.request")}</th>
    </>
  );
  return (
    <Table caption={t("nav.audit")} head={head}>
      {items.map((one) => (
        <tr key={one.id}>
          <td class="muted">{dateTime(one.at)}</td>
          <th scope="row">{word(`action.${one.action}`, one.action)}<small><code>{one.action}</code></small></th>
          <td class="number">{one.campaignId === null ? "–" : <a href={`#/campaigns/${one.campaignId}`}>{one.campaignId}</a>}</td>
          <td class="wrap"><Changes before={one.before} after={one.after} />{one.subject && <small><code>{one.subject}</code></small>}</td>
          <td>{one.actor}<small>{one.address}</small></td>
          <td class="wide-only">{one.requestId && <code title={one.requestId}>{short(one.requestId)}</code>}</td>
        </tr>
      ))}
    </Table>
  );
}

const shown = (value: unknown): string => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
const object = (value: unknown): Record<string, unknown> => (value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : {});

/** The changed fields: before and after. */
function Changes({ before, after }: { before: unknown; after: unknown }) {
  const [was, is] = [object(before), object(after)];
  const names = [...new Set([...Object.keys(was), ...Object.keys(is)])];
  if (names.length === 0) return <>{shown(after ?? before ?? undefined) || "–"}</>;
  const list = (
    <ul class="changes">
      {names.map((name) => (
        <li key={name}><span>{name}</span> {name in was && <del>{shown(was[name])}</del>} {name in is && <ins>{shown(is[name])}</ins>}</li>
      ))}
    </ul>
  );
  return names.length <= 3 ? list : <details><summary>{t("audit.fields", { n: names.length })}</summary>{list}</details>;
}
