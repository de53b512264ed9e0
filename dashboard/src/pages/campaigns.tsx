// The list of campaigns.
import { useEffect, useState } from "preact/hooks";
import { get, query, type Problem } from "../api";
import { number, shortDateTime, stock } from "../format";
import { useGet } from "../live";
import { useAdmin } from "../session";
import type { Campaign, Page, Reward } from "../types";
import { Empty, Loading, More, Pill, Refused, StockBar, Table, useAction } from "../ui";
import { t, word } from "../words";

const STATES = ["draft", "scheduled", "open", "paused", "closed", "archived"];
const KINDS = ["coupon", "points", "time_deal", "general"];

export function rewardText(reward: Reward | null): string {
  if (!reward) return "–";
  if (reward.points) return t("reward.points", { n: number(reward.points) });
  return t("reward.coupon", { n: number(reward.coupon?.discountAmount ?? 0) });
}

function Window({ opensAt, closesAt }: Campaign) {
  if (!opensAt && !closesAt) return <>{t("window.always")}</>;
  const until = closesAt && t("window.until", { at: shortDateTime(closesAt) });
  if (!opensAt) return <>{until}</>;
  return <>{t("window.from", { at: shortDateTime(opensAt) })}{until && <small>{until}</small>}</>;
}

export function Campaigns() {
  const admin = useAdmin(["campaign:read"]);
  const [state, setState] = useState("");
  const [kind, setKind] = useState("");
  const base = `/api/${admin ? "admin/" : ""}campaigns`;
  const first = useGet<Page<Campaign>>(`${base}${query({ state, kind, limit: 50 })}`, 2000);
  const [rest, setRest] = useState<Page<Campaign> | null>(null);
  const { problem, run } = useAction();
  useEffect(() => setRest(null), [state, kind, admin]);
  const cursor = rest ? rest.nextCursor : first.data?.nextCursor;
  const more = () => run(async () => {
    const page = await get<Page<Campaign>>(`${base}${query({ state, kind, limit: 50, cursor })}`);
    setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], nextCursor: page.nextCursor }));
  });
  const states = admin ? STATES : STATES.slice(1, 5);
  return (
    <>
      <div class="head">
        <h1>{t("nav.campaigns")}</h1>
        <div class="aside">
          <label class="inline">{t("campaign.state")}
            <select value={state} onChange={(event) => setState(event.currentTarget.value)}>
              <option value="">{t("all")}</option>
              {states.map((one) => <option key={one} value={one}>{word(`state.${one}`, one)}</option>)}
            </select>
          </label>
          <label class="inline">{t("campaign.kind")}
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
              <option value="">{t("all")}</option>
              {KINDS.map((one) => <option key={one} value={one}>{word(`kind.${one}`, one)}</option>)}
            </select>
          </label>
          <a class="button primary" href="#/campaigns/new">{t("campaign.new")}</a>
        </div>
      </div>
      <Refused problem={first.problem ?? problem} fields />
      <List items={first.data ? [...first.data.items, ...(rest?.items ?? [])] : null} problem={first.problem} />
      <More cursor={cursor} onMore={more} />
    </>
  );
}

function List({ items, problem }: { items: Campaign[] | null; problem: Problem | null }) {
  if (!items) return problem ? null : <Loading />;
  if (items.length === 0) return <Empty>{t("campaign.none")}</Empty>;
  const head = (
    <>
      <th scope="col" class="number">#</th><th scope="col">{t("campaign.name")}</th><th scope="col">{t("campaign.state")}</th>
      <th scope="col" class="number">{t("campaign.left")}</th><th scope="col" class="wide-only">{t("campaign.taken")}</th>
      <th scope="col" class="wide-only">{t("campaign.kind")}</th><th scope="col" class="wide-only">{t("campaign.reward")}</th>
      <th scope="col" class="wide-only">{t("campaign.window")}</th>
    </>
  );
  return (
    <Table caption={t("nav.campaigns")} head={head} class="campaigns">
      {items.map((one) => (
        <tr key={one.id}>
          <td class="number muted">{one.id}</td>
          <th scope="row"><a href={`#/campaigns/${one.id}`}>{one.name}</a>{one.description && <small class="wide-only">{one.description}</small>}</th>
          <td><Pill state={one.state} /></td>
          <td class="number">{one.currentStock === 0 ? <span class="out">{t("soldOut")}</span> : <><b>{stock(one.currentStock)}</b>{one.totalStock !== null && <span class="muted"> / {stock(one.totalStock)}</span>}</>}</td>
          <td class="wide-only"><StockBar total={one.totalStock} left={one.currentStock} label={t("campaign.left")} /></td>
          <td class="wide-only">{word(`kind.${one.kind}`, one.kind)}{one.price ? <small>{t("price", { n: number(one.price) })}</small> : null}</td>
          <td class="wide-only">{rewardText(one.reward)}</td>
          <td class="wide-only muted"><Window {...one} /></td>
        </tr>
      ))}
    </Table>
  );
}
